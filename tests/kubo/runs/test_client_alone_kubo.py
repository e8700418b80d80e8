"""What a client's home has of a closed run once it is alone: every other peer and every node has stopped."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from federation import APPS, Federation

from peer.base.errors import ExitCode

pytestmark = pytest.mark.kubo

APP = APPS / "numpy_fedavg"
BRIEFLY = ("--ipfs", "kubo", "--timeout", "1", "--json")
"""Nobody is there to give anything."""


@pytest.fixture(params=[False, True], ids=["plain", "encrypted"])
def alone(federations: Callable[..., Federation], request: pytest.FixtureRequest) -> Federation:
    """After a run of two rounds with two clients."""
    federation = federations(encrypted=request.param)
    federation.add("one", "two")
    server = federation.server(APP, "--run-config", "num-server-rounds=2")
    federation.meet(server)
    clients = [federation.client(name, APP) for name in federation.names]
    assert [peer.code() for peer in (server, *clients)] == [0, 0, 0], server.said
    assert federation.orphans() == []
    return federation


def test_a_client_alone_verifies_the_whole_chain_and_lacks_only_what_was_never_sent_to_it(alone: Federation) -> None:
    history = json.loads(alone.done("one", "history", "latest", *BRIEFLY))
    assert (history["verdict"], history["records"], history["rounds"], history["closed"]) == ("verified", 10, 2, True)

    audit = json.loads(alone.done("one", "audit", "latest", *BRIEFLY, code=ExitCode.UNFINISHED))
    assert (audit["verdict"], audit["records"]) == ("incomplete", 10)
    assert {finding["rule"] for finding in audit["findings"]} == {"missing-block"}
    whats = [finding["message"].partition(" (content")[0] for finding in audit["findings"]]
    assert whats == ["the app", "the seed", *["what two answered"] * 4, "the final model"], audit["findings"]


def test_a_client_alone_exports_no_half_of_a_run_and_says_what_it_lacks(alone: Federation) -> None:
    refused: Any = json.loads(alone.done("one", "export", "latest", "run.car", *BRIEFLY, code=ExitCode.UNFINISHED))
    assert "not whole here" in refused["error"]

"""A run whose clients wait for a witness: a server that cheats is stopped in the round in which it does."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from federation import APPS, Federation, PeerProcess

from peer.home.federations import FederationStore
from peer.membership.changes import add_member
from protocol.records.bodies import Role

APP = APPS / "cheating"


@pytest.fixture
def federation(tmp_path: Path) -> Iterator[Federation]:
    """A client, a server, and one that is to be its witness. It encrypts."""
    made = Federation(tmp_path, f"local:{tmp_path / 'engine'}")
    made.add("one")
    public = made.identity("second").public_for(bytes(made.stored.id))
    stored = add_member(made.stored, made.admin, public, name="second", roles=[Role.SERVER], time=time.time())
    FederationStore(made.home("server")).save(stored)
    for name in ("second", "one"):
        FederationStore(made.home(name)).join(stored)
    yield made
    made.end()


def begin(federation: Federation, **cheats: dict[str, str]) -> tuple[PeerProcess, PeerProcess, PeerProcess]:
    """The witness, the server and the client of a run of three rounds that needs one witness."""
    witness = federation.start(
        "second", "--role", "server", "--standby", "--app", APP, "--once", **cheats.get("second", {})
    )
    rounds = ("--run-config", "num-server-rounds=3 min-nodes=1", "--witnesses", "1")
    server = federation.server(APP, *rounds, clients=1, **cheats.get("server", {}))
    return witness, server, federation.client("one", APP)


def judged(federation: Federation, home: str) -> tuple[int, Any]:
    """What ``peer audit`` says of the dispute that is written in a home."""
    file = federation.root / "dispute.car"
    federation.done(home, "dispute", "latest", "-o", file)
    auditor = federation.run("auditor", "audit", file, "--app", APP, "--home", federation.home("second").path, "--json")
    return auditor.code(), auditor.json["dispute"]


def test_a_server_that_scales_a_tensor_in_round_3_is_stopped_there_and_a_third_run_names_it(
    federation: Federation,
) -> None:
    _, server, client = begin(federation, server={"CHEAT": "scale"})
    assert server.code() == 1, server.said
    client.wait_for("contradicted", height=5)
    assert [each["round"] for each in client.events("task-answered")] == [1, 2]
    code, dispute = judged(federation, "one")
    assert (code, dispute["wrong"], dispute["height"]) == (1, "leader", 5)
    assert "is what the other server signs" in dispute["why"]


@pytest.mark.all
def test_a_witness_that_speaks_against_an_honest_server_stops_it_and_is_named(federation: Federation) -> None:
    witness, server, client = begin(federation, second={"CHEAT": "scale"})
    assert server.code() == 1, server.said
    client.wait_for("contradicted", height=5)
    code, dispute = judged(federation, "server")
    assert (code, dispute["wrong"], dispute["witness"]) == (1, "witness", "second")

    witness.kill()
    federation.done("server", "federation", "remove", "second", "--ipfs", federation.engine)
    refused = federation.server(APP, "--run-config", "num-server-rounds=3 min-nodes=1", clients=1)
    assert refused.code() == 2, refused.said  # no other server is left to vouch for it
    client.kill()


@pytest.mark.all
def test_an_honest_run_ends_although_its_witness_and_its_client_are_killed_in_between(federation: Federation) -> None:
    witness, server, client = begin(federation)
    witness.wait_for("recomputed", height=1)
    witness.kill()
    client.kill()
    again = federation.start("second", "--role", "server", "--standby", "--app", APP, "--once")
    client = federation.client("one", APP)
    assert [server.code(), client.code(), again.code()] == [0, 0, 0], server.said
    report = json.loads(federation.done("one", "audit", federation.exported("second"), "--json"))
    assert [each["recomputed_by"] for each in report["exchanges"]] == [["second"]] * 3

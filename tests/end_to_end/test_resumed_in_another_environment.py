"""A server goes on with its run on another machine. An auditor on the first one accuses nobody of what follows."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from federation import APPS, Federation

APP = APPS / "by_kernel"
NEHALEM = {"OPENBLAS_CORETYPE": "Nehalem"}
"""By OpenBLAS's own switch: the kernel of an older processor, which sums in another order."""


@pytest.fixture
def federation_of_two(tmp_path: Path) -> Iterator[Federation]:
    """A server and one client, in the clear: anybody may replay their runs."""
    made = Federation(tmp_path, f"local:{tmp_path / 'engine'}", encrypted=False)
    made.add("one")
    yield made
    made.end()


def test_each_exchange_is_judged_by_the_environment_that_was_in_force_at_it(federation_of_two: Federation) -> None:
    federation, gate = federation_of_two, federation_of_two.root / "gate"
    server = federation.server(APP, "--numerics", "native", clients=1)
    client = federation.client("one", APP, f'gate="{gate}"')
    client.wait_for("task-started")
    server.signal(signal.SIGINT)
    assert server.code() == 3, server.said
    server = federation.server(APP, clients=1, **NEHALEM)
    told = server.wait_for("environment-changed")
    gate.touch()
    assert [peer.code() for peer in (server, client)] == [0, 0], server.said
    head, home = str(federation.head("server").head), ("--home", str(federation.root / "auditor"))

    code, report = federation.replay(head, APP, *home, "--ipfs", federation.engine)
    there, report_there = federation.replay(head, APP, *home, "--ipfs", federation.engine, **NEHALEM)

    assert "openblas of numpy kernel was" in told["why"]
    assert (code, report["verdict"], report["environments"]) == (3, "inconclusive", 2)
    outcomes = [exchange["compared"]["outcome"] for exchange in report["exchanges"]]
    assert outcomes == ["equal", "undecided", "equal"]
    assert "Nehalem" in report["replay"]["settling"]
    assert (there, report_there["verdict"]) == (0, "verified")

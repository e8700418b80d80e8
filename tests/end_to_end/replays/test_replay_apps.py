"""Runs of real peers, replayed: apps of every kind, members that come late, and replays that come to no end."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from federation import APPS, GATED, Federation, Gate

HONEST = [
    ("every_strategy", 'strategy="DifferentialPrivacyClientSideFixedClipping"'),
    ("every_strategy", 'strategy="FedMedian" fraction-train=0.7 num-server-rounds=2'),
    ("legacy_fedavg", "num-server-rounds=2"),
    ("own_threads", 'mode="map"'),
    ("polling", "count=true pause=0.02"),
    ("query_first", ""),
    ("torch_server", ""),
]


pytestmark = pytest.mark.all  # without peers: `tests/strategy`, `test_replaying_apps.py`; with them: `test_replay.py`


@pytest.fixture
def federation(federation_in_the_clear: Federation) -> Federation:
    return federation_in_the_clear


def ran(federation: Federation, app: Path, config: str = "", **variables: str) -> Path:
    """The CAR of a run with three clients that is over."""
    federation.add("three")
    server = federation.server(app, "--run-config", config, clients=3, **variables)
    clients = [federation.client(name, app) for name in federation.names]
    assert [peer.code() for peer in (server, *clients)] == [0] * 4, server.said
    return exported(federation)


def exported(federation: Federation) -> Path:
    """The run as a CAR, and its engine gone."""
    car = federation.exported()
    shutil.rmtree(federation.root / "engine")
    return car


def replayed(federation: Federation, car: Path, app: Path, *arguments: str, **variables: str) -> tuple[int, Any]:
    """An audit of the CAR alone, in a home that knows nothing."""
    return federation.replay(car, app, *arguments, "--home", str(federation.root / "auditor"), **variables)


@pytest.mark.slow
@pytest.mark.parametrize(("app", "config"), HONEST)
def test_an_honest_app_replays(app: str, config: str, federation: Federation) -> None:
    car = ran(federation, APPS / app, config)

    code, report = replayed(federation, car, APPS / app)

    assert (code, report["verdict"], report["findings"]) == (0, "verified", [])
    assert (report["replay"]["not_checked"] is None) == (report["model"] is not None)
    assert report["replay"]["messages"] == sum(person["asked"] for person in report["participants"].values())


def test_members_that_come_late_are_seen_again_as_they_came(federation: Federation, gate: Gate, tmp_path: Path) -> None:
    app = GATED
    server = federation.server(app, "--run-config", f'gate="{gate.folder}" rounds=2 clients=1', clients=1)
    first = federation.client("one", app)
    gate.open("round-1")
    server.wait_for("collected", replies=1)
    second = federation.client("two", app)
    server.wait_for("peer-here", name="two")
    gate.open("round-2")
    assert [peer.code() for peer in (server, first, second)] == [0, 0, 0], server.said
    car = exported(federation)
    shutil.rmtree(gate.folder)  # a replay waits for nothing: its sleeps are skipped, and its gates are looked at again
    gate.open("round-1", "round-2")

    code, report = replayed(federation, car, app, "--allow-read", str(gate.folder))

    assert (code, report["verdict"]) == (0, "verified"), report["findings"]
    assert [len(exchange["participants"]) for exchange in report["exchanges"]] == [1, 2]


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["uuid", "pool"])
def test_an_app_that_does_not_do_the_same_thing_twice_accuses_nobody(mode: str, federation: Federation) -> None:
    car = ran(federation, APPS / "own_threads", f'mode="{mode}"')

    code, report = replayed(federation, car, APPS / "own_threads")

    assert (code, report["verdict"]) == (3, "inconclusive")
    (finding,) = report["findings"]
    assert finding["rule"] == "replay-undecided"
    assert "draws a uuid4, or takes results in the order in which its own threads finish" in finding["message"]

"""Ctrl-C and SIGTERM, whenever they come: a clean stop, nothing left running, nothing half-written."""

from __future__ import annotations

import signal

import pytest
from federation import GATED, Federation, Gate, until

from peer.control.asking import ask
from peer.control.requests import Status
from peer.status.peer_status import PeerStatus
from protocol.status.role_status import Doing


def status(federation: Federation, name: str) -> PeerStatus:
    """What a running peer says of itself at its socket."""
    told = ask(federation.home(name), Status())
    assert told is not None
    return told


@pytest.mark.parametrize("number", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.all)])
def test_peers_stopped_in_a_round_leave_it_to_be_resumed(
    number: signal.Signals, federation: Federation, gate: Gate
) -> None:
    gate.open("round-1")
    config = f'gate="{gate.folder}"'
    server = federation.server(GATED, "--run-config", f"rounds=1 {config}")
    clients = [federation.client(name, GATED, config) for name in federation.names]
    for client in clients:
        client.wait_for("task-started")
    said = {name: status(federation, name).parts[0].role for name in ("server", *federation.names)}
    assert [each.doing for each in said.pop("server").members] == [Doing.WORKING] * 2
    assert [each.work is not None for each in said.values()] == [True] * 2
    for peer in (server, *clients):
        peer.signal(number)

    assert [peer.code() for peer in (server, *clients)] == [3, 0, 0], server.said
    assert "stopped; the run stays open" in server.said
    assert federation.orphans() == []
    assert federation.half_written() == []

    gate.open("train-1")
    server = federation.server(GATED, "--run-config", f"rounds=1 {config}")
    clients = [federation.client(name, GATED, config) for name in federation.names]
    assert [peer.code() for peer in (server, *clients)] == [0, 0, 0], server.said
    assert federation.audit()["verdict"] == "verified"


@pytest.mark.parametrize(
    ("event", "number"),
    [
        ("", signal.SIGINT),
        pytest.param("waiting-for-clients", signal.SIGTERM, marks=pytest.mark.all),
        pytest.param("", signal.SIGTERM, marks=pytest.mark.all),
        pytest.param("waiting-for-clients", signal.SIGINT, marks=pytest.mark.all),
    ],
)
def test_a_server_is_stopped_before_there_is_anybody(
    event: str, number: signal.Signals, federation: Federation
) -> None:
    server = federation.server(GATED)
    if event:
        server.wait_for(event)
    else:  # it holds its home: it is at its imports
        lock = federation.home("server").path / "peer.lock"
        until(lambda: lock.exists() and lock.read_text(), lambda: "the home is never locked")
    server.signal(number)

    assert server.code() == 3, server.said
    assert "stopped" in server.said
    assert federation.orphans() == []
    assert federation.half_written() == []


@pytest.mark.all
def test_a_run_whose_server_is_gone_is_closed_by_its_home_without_the_app(federation: Federation, gate: Gate) -> None:
    gate.open("round-1")
    config = f'gate="{gate.folder}"'
    server = federation.server(GATED, "--run-config", f"rounds=1 {config}")
    clients = [federation.client(name, GATED, config) for name in federation.names]
    for client in clients:
        client.wait_for("task-started")
    for peer in (server, *clients):
        peer.kill()

    stop = federation.run("server", "stop", "latest", "--home", federation.home("server").path)
    assert stop.code() == 0, stop.said
    head = federation.head("server")
    assert head.closed
    assert head.head.label in stop.printed
    report = federation.audit()
    assert (report["verdict"], report["outcome"]) == ("verified", "stopped")
    assert federation.orphans() == []

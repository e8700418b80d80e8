"""A Kubo node of the user's own dies, or is stopped, in mid-run: its peer waits for it and goes on when it is back."""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from disturbed import CLIENTS, PEERS, Disturbed, Told
from federation import until
from matrix import Cell, cells, name

from peer.base.errors import ExitCode
from peer.base.faults import Fault, Step, Victim, When
from peer.engine.kubo.node import KuboNode
from peer.home.federations import FederationStore

pytestmark = [pytest.mark.kubo, pytest.mark.all]  # nodes that are killed in a run: `tests/kubo/runs/test_run_kubo.py`

A_RUN = 2.0
"""Seconds that a run takes once it is open, about."""


class OwnNodes(Disturbed):
    """A run whose peers are told the URLs of nodes that somebody else starts, and keeps running. Each has its own: a
    peer that starts while its node is away ends. They are in the homes only so that a fault finds them."""

    nodes: dict[str, KuboNode]

    def engine_of(self, name: str) -> str:
        return self.nodes[name].api

    def start_nodes(self) -> None:
        """Start the nodes, and let every home know where the server's is."""
        self.nodes = {name: KuboNode(self.home(name).path, bytes(32)) for name in PEERS}
        for node in self.nodes.values():
            node.start()
        with self.blocks(self.engine_of("server")) as engine:
            for client in CLIENTS:
                FederationStore(self.home(client)).add_addresses(self.stored.id, engine.addresses())

    def stop_nodes(self) -> None:
        for node in self.nodes.values():
            node.stop()


@pytest.fixture
def run(origin: Path, tmp_path: Path, ipfs_program: Path) -> Iterator[OwnNodes]:
    """Nothing runs yet but the nodes."""
    made = OwnNodes.copy_of(origin, tmp_path / "run")
    made.start_nodes()
    yield made
    made.end()
    made.stop_nodes()


@pytest.mark.parametrize("cell", list(cells(Victim.ENGINE)), ids=name)
def test_a_node_killed_at_a_step_and_started_again(cell: Cell, run: OwnNodes, undisturbed: Told) -> None:
    peer, fault = cell
    run.start_all({peer: fault})
    until(lambda: not run.nodes[peer].is_running, lambda: f"the node lives:\n{run.peers[peer].said}")
    run.peers[peer].wait_for("engine-away")

    run.nodes[peer].start()
    run.await_all()

    assert run.peers[peer].events("engine-back")
    assert run.told() == undisturbed


@pytest.mark.parametrize("peer", ["server", CLIENTS[0]])
def test_a_node_that_hangs_and_goes_on(peer: str, run: OwnNodes, undisturbed: Told) -> None:
    """As if its machine slept or its disk stalled: it takes calls, and answers none of them. The rule is tested in
    `tests/protocol/roles/test_offline_times.py`."""
    daemon = run.nodes[peer]._daemon
    assert daemon is not None
    run.start_all()
    run.peers[peer].wait_for("dispatched" if peer == "server" else "task-started")
    daemon.send_signal(signal.SIGSTOP)
    try:
        run.peers[peer].wait_for("engine-away")
    finally:
        daemon.send_signal(signal.SIGCONT)
    run.await_all()

    assert run.told() == undisturbed


def test_a_server_that_is_stopped_while_its_node_is_away_leaves_its_run_open(run: OwnNodes, undisturbed: Told) -> None:
    run.start_all({"server": Fault(Victim.ENGINE, Step.WRITE_HEAD, When.AFTER, 3)})
    server = run.peers["server"]
    server.wait_for("engine-away")

    server.signal(signal.SIGINT)

    assert server.code() == ExitCode.UNFINISHED
    assert "the run stays open" in server.said
    run.nodes["server"].start()
    run.start_one("server")
    run.await_all()
    assert run.told() == undisturbed


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("peer", ["server", CLIENTS[0]])
def test_a_node_stopped_in_order_at_a_random_instant(peer: str, seed: int, run: OwnNodes, undisturbed: Told) -> None:
    """A node that is told to stop answers until its parts are closed: with errors that are no refusals."""
    run.start_all()
    run.peers[peer].wait_for("run-opened" if peer == "server" else "run-followed")  # before, it may refuse to start
    time.sleep(random.Random(f"{peer} {seed}").uniform(0.0, A_RUN))

    run.nodes[peer].stop()
    run.nodes[peer].start()
    run.await_all()

    assert run.told() == undisturbed

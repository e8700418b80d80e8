"""A process killed at any step and started again ends in the model of the undisturbed run, bit for bit.

``pytest tests/faults --all`` tries every cell of the matrix; a plain run tries a sample.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from disturbed import Disturbed, Told, happened
from matrix import Cell, cells, name

from peer.base.faults import Victim
from peer.engine.chosen_engine import MANAGED

SAMPLE = {
    "one-peer-keep-reply-before-4",
    "one-app-hand-after-4",
}
"""A server is killed in `test_encrypted_faults.py`, a node in `tests/kubo/runs/test_run_kubo.py`."""


def params(victim: Victim) -> list[object]:
    """The cells, those that only ``--all`` tries marked."""
    return [
        pytest.param(cell, id=name(cell), marks=[] if name(cell) in SAMPLE else [pytest.mark.all])
        for cell in cells(victim)
    ]


@pytest.mark.parametrize("cell", params(Victim.PEER))
def test_a_peer_killed_at_a_step(cell: Cell, disturbed: Disturbed, undisturbed: Told) -> None:
    peer, fault = cell
    disturbed.start_all({peer: fault})
    disturbed.await_death(peer)

    disturbed.start_one(peer)
    disturbed.await_all()

    assert disturbed.told() == undisturbed


@pytest.mark.parametrize("cell", params(Victim.APP))
def test_an_app_process_killed_at_a_step(cell: Cell, disturbed: Disturbed, undisturbed: Told) -> None:
    peer, fault = cell
    disturbed.start_all({peer: fault})

    disturbed.await_all()

    assert happened(disturbed.peers[peer], Victim.APP)
    assert disturbed.told() == undisturbed


@pytest.mark.kubo
@pytest.mark.parametrize("cell", params(Victim.ENGINE))
def test_a_kubo_node_killed_at_a_step(
    cell: Cell, origin: Path, tmp_path: Path, ipfs_program: Path, undisturbed: Told
) -> None:
    peer, fault = cell
    run = Disturbed.copy_of(origin, tmp_path / "run", MANAGED, POLLEN_KUBO=str(ipfs_program))
    try:
        run.start_all({peer: fault})
        run.await_all()

        assert happened(run.peers[peer], Victim.ENGINE)
        assert run.told() == undisturbed
    finally:
        run.end()

"""A managed node deletes what nobody pinned each time its peer starts. A run that was left open needs none of it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from disturbed import CLIENTS, Disturbed

from peer.audit.audit import Audit
from peer.base.faults import Fault, Step, Victim, When
from peer.engine import open_engine
from peer.engine.chosen_engine import MANAGED
from peer.engine.kubo.node import KuboNode
from peer.history.run_sources import EngineSource
from peer.history.scratch import Scratch
from peer.history.verdict import Verdict
from protocol.blocks.cid import raw_block

pytestmark = [pytest.mark.kubo, pytest.mark.all]

JUNK = raw_block(b"a block that a member had us fetch, and that nothing needs")
IN_ROUND_TWO = Fault(Victim.PEER, Step.WRITE_HEAD, When.AFTER, 7)


@pytest.fixture
def run(origin: Path, tmp_path: Path, ipfs_program: Path) -> Iterator[Disturbed]:
    made = Disturbed.copy_of(origin, tmp_path / "run", MANAGED, POLLEN_KUBO=str(ipfs_program))
    yield made
    made.end()


def test_starting_a_peer_deletes_what_nobody_pinned_and_nothing_of_an_open_run(
    run: Disturbed, ipfs_program: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POLLEN_KUBO", str(ipfs_program))
    node = KuboNode(run.home("server").path, run.stored.swarm_key)
    run.start_all({"server": IN_ROUND_TWO})
    run.await_death("server")
    for client in CLIENTS:
        run.peers[client].kill()
    with node, contextlib.closing(open_engine(node.api)) as engine:
        engine.put([JUNK])

    run.start_one("server").wait_for("run-resumed")
    run.peers["server"].kill()

    with node, contextlib.closing(open_engine(node.api)) as engine, Scratch() as scratch:  # no other node is near
        assert not engine.has(JUNK.cid)
        report = Audit(run.head("server").head, EngineSource(engine, 1.0), scratch, known=[run.stored]).run()
        assert (report.height, report.verdict) == (6, Verdict.VERIFIED), list(report.findings)

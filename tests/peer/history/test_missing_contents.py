"""A history needs no contents: where they are nowhere, it does not wait for each."""

from __future__ import annotations

from dataclasses import replace

import pytest
from inspected_runs import finished_run

from peer.audit.audit import Audit
from peer.engine.interface import Unreachable
from peer.engine.local.engine import LocalEngine
from peer.history.run_sources import HURRIED, EngineSource
from peer.history.scratch import Scratch
from peer.history.verdict import Verdict
from protocol.blocks.cid import CID


def test_once_a_content_is_missing_a_history_looks_for_the_others_only_briefly(
    local_engine: LocalEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = finished_run()
    local_engine.put(block for block in written.blocks if block.cid not in written.sent)
    timeouts = list[float]()

    def get(cid: CID, *, timeout: float) -> bytes:
        if local_engine.has(cid):
            return local_engine.get_here(cid)
        timeouts.append(timeout)
        raise Unreachable(cid)

    of_node = replace(local_engine.status(), kind="kubo")
    monkeypatch.setattr(local_engine, "status", lambda: of_node)
    monkeypatch.setattr(local_engine, "get", get)
    with Scratch() as scratch:
        report = Audit(written.head, EngineSource(local_engine, 9.0), scratch, with_contents=False).run()
    assert (report.verdict, timeouts) == (Verdict.VERIFIED, [9.0, HURRIED])

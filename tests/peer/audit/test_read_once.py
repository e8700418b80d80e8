"""An audit of a file reads a chunk once, when it opens the file, and a replay is sent many blocks at a time."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from inspected_runs import WrittenRun, finished_run

from peer.apps.asked_blocks import AskedBlocks, AskedContents
from peer.apps.block_server import BlockServer, ServedRun
from peer.audit.audit import Audit
from peer.history import run_sources
from peer.history.run_sources import CarSource
from peer.history.scratch import Scratch
from peer.history.verdict import Verdict
from protocol.app.block_calls import ReadBlock
from protocol.blocks.car import write_car
from protocol.blocks.cid import CID, Block, checked_block


@pytest.fixture(scope="module")
def written() -> WrittenRun:
    return finished_run()


@pytest.fixture
def car(written: WrittenRun, tmp_path: Path) -> Path:
    car = tmp_path / "run.car"
    car.write_bytes(b"".join(write_car([written.head], written.blocks)))
    return car


def test_an_audit_hashes_each_chunk_of_a_file_once(car: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hashed: Counter[CID] = Counter()

    def counted(cid: CID, data: bytes) -> Block:
        hashed[cid] += cid.is_raw and len(data) > 1000
        return checked_block(cid, data)

    monkeypatch.setattr(run_sources, "checked_block", counted)
    source = CarSource(car)
    with Scratch() as scratch:
        report = Audit(source.roots[0], source, scratch).run()

    assert report.verdict is Verdict.VERIFIED
    assert set((+hashed).values()) == {1}


def test_a_content_is_sent_in_one_answer(car: Path, written: WrittenRun, monkeypatch: pytest.MonkeyPatch) -> None:
    content = written.sent[0]
    server = BlockServer(ServedRun(CarSource(car)))
    asked = AskedBlocks(server.theirs.dup())
    server.start()
    server.name([content])
    calls = []
    monkeypatch.setattr(asked, "ask", lambda call, ask=asked.ask: calls.append(call) or ask(call))

    opened = AskedContents(asked).open(content)
    blocks = [block.cid for block in CarSource(car).content(content, 1 << 30)]
    for cid in blocks:
        checked_block(cid, opened.get(cid))
    server.close()

    assert len(blocks) > 2
    assert [call.block for call in calls if isinstance(call, ReadBlock)] == [content]

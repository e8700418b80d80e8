"""`peer.history.run_sources`: an index of a file that somebody else made."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace
from pathlib import Path

import pytest

from peer.engine.interface import StillComing
from peer.engine.local.engine import LocalEngine
from peer.history import run_sources
from peer.history.run_sources import CarSource, EngineSource
from protocol.blocks.car import write_car
from protocol.blocks.cid import CID, Block, BlockMismatch, checked_block, raw_block

TINY = 20_000
MOST = 4 << 20
"""Bytes. All of them at once take half as much again."""


def test_memory_does_not_grow_with_blocks_of_next_to_no_bytes(tmp_path: Path) -> None:
    path = tmp_path / "tiny.car"
    blocks = [raw_block(number.to_bytes(3, "big")) for number in range(TINY)]
    path.write_bytes(b"".join(write_car([blocks[0].cid], blocks)))
    last = blocks[-1]
    del blocks

    tracemalloc.start()
    source = CarSource(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert source.get(last.cid) == last.data
    source.close()
    assert peak < MOST


def test_a_file_that_gives_other_bytes_the_second_time_is_caught(tmp_path: Path) -> None:
    path, block = tmp_path / "run.car", raw_block(b"a model" * 100)
    path.write_bytes(b"".join(write_car([block.cid], [block])))
    source = CarSource(path)
    assert source.get(block.cid) == block.data

    path.write_bytes(path.read_bytes()[:-1] + b"!")

    with pytest.raises(BlockMismatch):
        source.get(block.cid)


def test_a_block_is_hashed_once_however_often_it_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, block = tmp_path / "run.car", raw_block(b"a model" * 100)
    path.write_bytes(b"".join(write_car([block.cid], [block])))
    hashed: list[CID] = []

    def counted(cid: CID, data: bytes) -> Block:
        hashed.append(cid)
        return checked_block(cid, data)

    monkeypatch.setattr(run_sources, "checked_block", counted)
    source = CarSource(path)

    assert [source.get(block.cid) for _ in range(3)] == [block.data] * 3
    assert hashed == [block.cid]


def test_a_content_that_is_still_coming_is_not_missing(
    local_engine: LocalEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    block = raw_block(b"a model")
    local_engine.put([block])
    tries = [StillComing(block.cid), StillComing(block.cid)]

    def fetch(root: CID, *, timeout: float, limit: int) -> None:
        if tries:
            raise tries.pop()

    of_node = replace(local_engine.status(), kind="kubo")
    monkeypatch.setattr(local_engine, "status", lambda: of_node)
    monkeypatch.setattr(local_engine, "fetch", fetch)
    assert list(EngineSource(local_engine, 1.0).content(block.cid, 100)) == [block]
    assert not tries

"""`peer.history.run_sources`: an index of a file that somebody else made."""

from __future__ import annotations

import contextlib
import tracemalloc
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from peer.engine.interface import StillComing, Unreachable
from peer.engine.local.engine import LocalEngine
from peer.history import run_sources
from peer.history.run_sources import HURRIED, CarSource, EngineSource, Wait
from protocol.blocks.car import write_car
from protocol.blocks.cid import CID, Block, BlockMismatch, MissingBlock, checked_block, raw_block

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


def test_an_engine_waits_only_within_what_tells_of_it(
    local_engine: LocalEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    block, content, more = (raw_block(text) for text in (b"a record", b"a model", b"another record"))
    local_engine.put([block, content, more])
    waits, open_waits = list[Wait](), list[Wait]()

    @contextlib.contextmanager
    def told(wait: Wait) -> Iterator[None]:
        waits.append(wait)
        open_waits.append(wait)
        yield
        open_waits.remove(wait)

    def get(cid: CID, *, timeout: float) -> bytes:
        assert open_waits
        return local_engine.get_here(cid)

    def fetch(root: CID, *, timeout: float, limit: int) -> None:
        assert open_waits

    of_node = replace(local_engine.status(), kind="kubo")
    for name, changed in (("status", lambda: of_node), ("get", get), ("fetch", fetch), ("has", lambda _: False)):
        monkeypatch.setattr(local_engine, name, changed)
    source = EngineSource(local_engine, 9.0, waits=told)
    source.get(block.cid)
    list(source.content(content.cid, 100))
    source.prefetch([block.cid, more.cid])
    assert [(list(wait.wanted), wait.seconds, wait.of_content) for wait in waits] == [
        ([block.cid], 9.0, False),
        ([content.cid], 9.0, True),
        ([block.cid, more.cid], 9.0, False),
    ]


def test_a_directory_waits_for_nobody(local_engine: LocalEngine) -> None:
    def told(_wait: Wait) -> contextlib.AbstractContextManager[None]:
        raise AssertionError("nobody else will bring a block into a directory")

    with pytest.raises(MissingBlock):
        EngineSource(local_engine, 9.0, waits=told).get(raw_block(b"nowhere").cid)


def test_a_block_that_was_looked_for_in_vain_is_looked_for_only_briefly_the_next_time(
    local_engine: LocalEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    nowhere, timeouts = raw_block(b"nowhere").cid, list[float]()

    def get(cid: CID, *, timeout: float) -> bytes:
        timeouts.append(timeout)
        raise Unreachable(cid)

    of_node = replace(local_engine.status(), kind="kubo")
    monkeypatch.setattr(local_engine, "status", lambda: of_node)
    monkeypatch.setattr(local_engine, "get", get)
    source = EngineSource(local_engine, 9.0)
    for cid in (nowhere, nowhere, raw_block(b"another").cid):
        with pytest.raises(MissingBlock):
            source.get(cid)
    assert timeouts == [9.0, HURRIED, 9.0]

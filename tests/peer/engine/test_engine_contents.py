"""How an app process reads contents: small ones at once, large ones as they are needed."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
from flwr.app import Array, ArrayRecord, RecordDict

from crypto.symmetric import ChunkNonce
from peer.engine.contents import READ_AHEAD, EngineContents
from peer.engine.interface import EngineUnavailable
from peer.engine.kubo.config import SENT_AT_ONCE
from peer.engine.local.engine import LocalEngine
from protocol.blocks.cid import CHUNK_SIZE, CID, Block, raw_block
from protocol.blocks.content import WHOLE_BODY, ContentKey, write_manifest
from strategy.contents.codec import encode


class CountingEngine(LocalEngine):
    """Counts the blocks that are asked for one by one."""

    asked = 0

    def get(self, cid: CID, *, timeout: float = 30.0) -> bytes:
        self.asked += 1
        return super().get(cid, timeout=timeout)


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[CountingEngine]:
    engine = CountingEngine(tmp_path / "engine")
    yield engine
    engine.close()


def stored(engine: LocalEngine, chunks: int, size: int = CHUNK_SIZE) -> tuple[CID, list[Block]]:
    blocks = [raw_block(os.urandom(size)) for _ in range(chunks)]
    root, manifest = write_manifest(b"body", [block.cid for block in blocks])
    engine.put_content(root, [*manifest, *blocks])
    return root, blocks


class AwayOnce(LocalEngine):
    """Away in the middle of the first content that it is given."""

    was_away = False

    def put_content(self, root: CID, blocks: Iterable[Block]) -> None:
        if not self.was_away:
            self.was_away = True
            next(iter(blocks))
            raise EngineUnavailable("away")
        super().put_content(root, blocks)


@pytest.mark.parametrize("once", [False, True], ids=["blocks", "an iterator"])
def test_an_engine_that_was_away_in_the_middle_gets_all_of_a_content(tmp_path: Path, *, once: bool) -> None:
    chunks = [raw_block(os.urandom(1000)) for _ in range(4)]
    root, manifest = write_manifest(b"body", [block.cid for block in chunks])
    with contextlib.closing(AwayOnce(tmp_path)) as engine:
        given = [*manifest, *chunks]
        EngineContents(engine).put_content(root, iter(given) if once else given)
        assert len(list(engine.read_content(root))) == len(given)


def test_a_small_content_is_one_call_to_the_engine(engine: CountingEngine) -> None:
    root, blocks = stored(engine, chunks=40, size=5000)
    source = EngineContents(engine).open(root)
    assert [source.get(block.cid) for block in blocks] == [block.data for block in blocks]
    assert engine.asked == 0


def test_a_large_content_is_held_in_memory_no_further_than_read_ahead(engine: CountingEngine) -> None:
    root, blocks = stored(engine, chunks=READ_AHEAD // CHUNK_SIZE + 3)
    source = EngineContents(engine).open(root)
    assert [source.get(block.cid) for block in blocks] == [block.data for block in blocks]
    assert engine.asked >= 3


def test_a_block_that_is_read_twice_is_the_same(engine: CountingEngine) -> None:
    root, (block,) = stored(engine, chunks=1)
    source = EngineContents(engine).open(root)
    assert source.get(block.cid) == source.get(block.cid) == block.data


def test_a_block_that_is_not_here_yet_is_asked_for_by_itself(engine: CountingEngine) -> None:
    late = raw_block(b"late")
    root, manifest = write_manifest(b"body", [late.cid])
    engine.put(manifest)
    source = EngineContents(engine).open(root)
    engine.put([late])
    assert source.get(late.cid) == b"late"


@pytest.mark.parametrize("key", [None, ContentKey(3, b"k" * 32, ChunkNonce.GMAC)])
@pytest.mark.parametrize("size", [2_500, 50_000])
def test_the_first_block_of_a_small_model_is_sent_by_a_node_at_once(size: int, key: ContentKey | None) -> None:
    model = ArrayRecord({str(number): Array("", (), "x", bytes(size)) for number in range(20)})

    first, *others = encode(RecordDict({"model": model}), key).blocks()

    assert len(first.data) <= SENT_AT_ONCE
    assert len(others) == (0 if 20 * size <= WHOLE_BODY else 1)

"""An app process without an engine: it reads what its peer names to it, and what it stored itself."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from peer.apps.asked_blocks import BATCH, AskedBlocks, AskedContents
from peer.apps.block_server import BlockServer, Contents, ServedEngine, ServedRun
from peer.apps.stored_blocks import StoredBlocks
from peer.engine.interface import EngineError, TooLarge
from peer.engine.local.engine import LocalEngine
from peer.history.run_sources import CarSource
from protocol.blocks.car import write_car
from protocol.blocks.cid import Block, BlockError, MissingBlock, cbor_block, raw_block

CHUNKS = [raw_block(bytes([number]) * (1000 + number)) for number in range(200)]
ROOT = cbor_block([chunk.cid for chunk in CHUNKS])
SECRET = raw_block(b"of another run")
LIMIT = 1 << 30


@contextmanager
def asking(contents: Contents) -> Iterator[tuple[BlockServer, AskedContents]]:
    """Both ends, in one process."""
    server = BlockServer(contents)
    app = AskedContents(AskedBlocks(server.theirs.dup()))
    server.start()
    try:
        yield server, app
    finally:
        server.close()


def test_the_threads_of_an_app_read_a_car_side_by_side(tmp_path: Path) -> None:
    car = tmp_path / "run.car"
    car.write_bytes(b"".join(write_car([ROOT.cid], [ROOT, *CHUNKS])))
    with asking(ServedRun(CarSource(car))) as (server, app), ThreadPoolExecutor(8) as pool:
        server.name([ROOT.cid])
        content = app.open(ROOT.cid)

        assert list(pool.map(content.get, [chunk.cid for chunk in CHUNKS * 5])) == [each.data for each in CHUNKS * 5]


def test_what_the_peer_has_not_named_is_not_read(local_engine: LocalEngine) -> None:
    local_engine.put([ROOT, *CHUNKS, SECRET])
    with asking(ServedEngine(local_engine, LIMIT)) as (server, app):
        server.name([ROOT.cid])

        for root, block in ((SECRET, SECRET), (ROOT, SECRET)):
            with pytest.raises(EngineError, match=str(SECRET.cid)):
                app.open(root.cid).get(block.cid)
        with pytest.raises(EngineError, match=str(SECRET.cid)):
            app.fetch(SECRET.cid, timeout=1, limit=1000)


def test_a_content_that_is_stored_is_whole_pinned_and_read_again(local_engine: LocalEngine) -> None:
    large = [raw_block(bytes([number]) * (1 << 20)) for number in range(BATCH // (1 << 20) + 3)]
    root = cbor_block([chunk.cid for chunk in large])
    with asking(ServedEngine(local_engine, LIMIT)) as (_, app):
        app.put_content(root.cid, [root, *large])

        assert list(local_engine.read_content(root.cid)) == [root, *large]
        assert app.open(root.cid).get(large[-1].cid) == large[-1].data


def test_bytes_that_are_not_the_block_are_not_stored(local_engine: LocalEngine) -> None:
    with asking(ServedEngine(local_engine, LIMIT)) as (_, app):
        with pytest.raises(BlockError):
            app.put_content(SECRET.cid, [Block(SECRET.cid, b"something else")])
        assert not local_engine.has(SECRET.cid)


@pytest.mark.parametrize(
    "sent",
    [[], [cbor_block([SECRET.cid])], [cbor_block([cbor_block([SECRET.cid]).cid]), cbor_block([SECRET.cid])]],
    ids=["nothing but the name", "a link to it", "a link to a link"],
)
def test_an_app_does_not_read_what_it_has_not_stored_itself(sent: list[Block], local_engine: LocalEngine) -> None:
    local_engine.put([SECRET])
    root = sent[0].cid if sent else SECRET.cid
    with asking(ServedEngine(local_engine, LIMIT)) as (_, app):
        with pytest.raises(BlockError, match=str(SECRET.cid)):
            app.put_content(root, sent)
        with pytest.raises(EngineError, match="not a content that this app was given"):
            app.open(root).get(SECRET.cid)


def test_a_block_to_which_many_ways_lead_is_looked_at_once(local_engine: LocalEngine) -> None:
    blocks = [cbor_block([])]
    for _ in range(60):  # 2**60 ways
        blocks.append(cbor_block([blocks[-1].cid, blocks[-1].cid]))
    with asking(ServedEngine(local_engine, LIMIT)) as (_, app):
        app.put_content(blocks[-1].cid, blocks)

        assert app.open(blocks[-1].cid).get(blocks[0].cid) == blocks[0].data


def test_an_app_that_says_something_else_gets_no_more(local_engine: LocalEngine) -> None:
    local_engine.put([SECRET])
    server = BlockServer(ServedEngine(local_engine, LIMIT))
    theirs = server.theirs.dup()
    server.start()
    server.name([SECRET.cid])

    theirs.sendall(b"\0\0\0\4nope")

    assert theirs.recv(1) == b""
    with pytest.raises(EngineError):
        AskedContents(AskedBlocks(theirs)).open(SECRET.cid).get(SECRET.cid)


def test_a_content_over_the_limit_is_told_from_one_that_is_not_there(local_engine: LocalEngine) -> None:
    local_engine.put([ROOT, *CHUNKS])
    with asking(ServedEngine(local_engine, LIMIT)) as (server, app):
        server.name([ROOT.cid])
        with pytest.raises(TooLarge):
            app.fetch(ROOT.cid, timeout=1, limit=1000)


def test_no_more_is_fetched_than_the_federation_allows_whatever_the_app_says(local_engine: LocalEngine) -> None:
    local_engine.put([ROOT, *CHUNKS])
    with asking(ServedEngine(local_engine, 1000)) as (server, app):
        server.name([ROOT.cid])
        with pytest.raises(TooLarge):
            app.fetch(ROOT.cid, timeout=1, limit=1 << 60)


def test_of_the_blocks_that_an_app_sends_without_end_the_newest_are_remembered() -> None:
    stored = StoredBlocks(most=100)
    stored.add([CHUNKS[0], ROOT])  # 200 links in one block that is not whole
    stored.add(CHUNKS[:60])
    stored.complete(CHUNKS[0].cid)  # used again, so it is not the oldest any more
    stored.add(CHUNKS[60:150])

    stored.complete(CHUNKS[149].cid)
    stored.complete(CHUNKS[0].cid)
    for forgotten in (ROOT, CHUNKS[1]):
        with pytest.raises(MissingBlock):
            stored.complete(forgotten.cid)


def test_what_a_replay_stores_is_kept_nowhere(local_engine: LocalEngine) -> None:
    with asking(ServedRun(local_engine)) as (_, app):
        app.put_content(SECRET.cid, [SECRET])
        assert not local_engine.has(SECRET.cid)

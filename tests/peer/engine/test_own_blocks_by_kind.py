"""A block of a run that the engine lost or damaged is taken from the journal and put back, whatever kind it is."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from chains import ALICE, SERVER, Scribe, reader_of
from damage import EACH, Damage, name_of, removed, spoil

from peer.engine.interface import Unreachable
from peer.engine.local.engine import LocalEngine
from peer.engine.own_blocks import OwnBlocks
from peer.home.home import Home
from peer.home.journal import Journal
from protocol.blocks.cid import Block, BlockError, raw_block
from protocol.records.signed_records import parse_record


def blocks_of_a_run() -> dict[str, Block]:
    """One block of each kind, of an encrypted run."""
    scribe = Scribe(encrypted=True, reader=reader_of(SERVER))
    scribe.add(scribe.run())
    scribe.add(scribe.dispatch(scribe.group(ALICE)))
    reply = scribe.taken(ALICE).reply
    scribe.add(scribe.roster(scribe.with_dave().cid))
    scribe.sign(scribe.index())
    scribe.sign(scribe.close())
    found: dict[str, Block] = {"seed": raw_block(b"s" * 32)}
    for cid, data in scribe.source.items():
        block = Block(cid, data)
        with contextlib.suppress(BlockError):
            found[parse_record(block).body.TYPE] = block
            continue
        found["a listing"] = block
    found["reply"] = Block(reply, scribe.source[reply])
    return found


BLOCKS = blocks_of_a_run()


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[LocalEngine]:
    with contextlib.closing(LocalEngine(tmp_path / "engine")) as engine:
        yield engine


@pytest.fixture
def own(engine: LocalEngine, tmp_path: Path) -> Iterator[OwnBlocks]:
    with Journal(Home(tmp_path / "home").create().journal) as journal:
        yield OwnBlocks(engine, journal)


def test_a_run_has_all_these_kinds() -> None:
    assert {"run", "dispatch", "roster", "index", "close", "keys", "federation", "reply", "seed"} <= BLOCKS.keys()


@pytest.mark.parametrize("damage", EACH, ids=name_of)
@pytest.mark.parametrize("kind", sorted(BLOCKS))
def test_what_the_journal_has_is_there_again(
    own: OwnBlocks, engine: LocalEngine, tmp_path: Path, kind: str, damage: Damage
) -> None:
    block = BLOCKS[kind]
    own.journal.keep_own([block])
    engine.put([block])
    spoil(tmp_path / "engine", [block.cid], damage)
    with pytest.raises((BlockError, Unreachable)):
        engine.get(block.cid, timeout=0)
    assert own.get(block.cid, timeout=0) == block.data
    assert engine.get(block.cid, timeout=0) == block.data


def test_what_neither_has_is_not_made_up(own: OwnBlocks, engine: LocalEngine, tmp_path: Path) -> None:
    block = BLOCKS["dispatch"]
    engine.put([block])
    spoil(tmp_path / "engine", [block.cid], removed)
    with pytest.raises(Unreachable):
        own.get(block.cid, timeout=0)

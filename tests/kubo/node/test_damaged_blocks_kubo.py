"""Blocks that were damaged on a Kubo node's disk: a peer in a run gets them again, an auditor finds them."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from damage import EACH, Damage, flipped, name_of, spoil

from peer.engine import open_engine
from peer.engine.contents import EngineContents
from peer.engine.interface import Engine
from peer.engine.kubo.node import KuboNode
from peer.engine.own_blocks import OwnBlocks
from peer.engine.sound_blocks import SoundBlocks
from peer.history.run_sources import EngineSource
from peer.home.journal import Journal
from protocol.blocks.cid import Block, BlockMismatch, cbor_block, raw_block

pytestmark = pytest.mark.kubo


@dataclass(frozen=True)
class Nodes:
    """Our node, and a member's."""

    ours: Engine
    members: Engine
    disk: Path
    """Where our node has its blocks."""
    fresh: random.Random

    def block(self) -> Block:
        """One that no other test makes; both nodes have it, and ours has it pinned."""
        block = raw_block(self.fresh.randbytes(1000))
        self.members.put([block])
        self.ours.put([block], pin=[block.cid])
        return block

    def content(self) -> list[Block]:
        """A content that both nodes have: its manifest, and two chunks."""
        chunks = [raw_block(self.fresh.randbytes(1000)) for _ in range(2)]
        root = cbor_block({"links": [chunk.cid for chunk in chunks], "epoch": None, "private": b""})
        for engine in (self.ours, self.members):
            engine.put_content(root.cid, [root, *chunks])
        return [root, *chunks]


@pytest.fixture
def nodes(kubo_nodes: tuple[KuboNode, KuboNode], request: pytest.FixtureRequest) -> Iterator[Nodes]:
    with contextlib.ExitStack() as stack:
        ours, members = (stack.enter_context(contextlib.closing(open_engine(node.api))) for node in kubo_nodes)
        ours.connect(members.addresses())
        yield Nodes(ours, members, kubo_nodes[0].repository / "blocks", random.Random(request.node.nodeid))


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    with Journal(tmp_path / "journal.db") as journal:
        yield journal


@pytest.mark.parametrize("damage", EACH, ids=name_of)
def test_an_own_block_is_taken_from_the_journal(nodes: Nodes, journal: Journal, damage: Damage) -> None:
    block = raw_block(nodes.fresh.randbytes(1000))
    journal.keep_own([block])
    nodes.ours.put([block], pin=[block.cid])
    spoil(nodes.disk, [block.cid], damage)
    assert OwnBlocks(nodes.ours, journal).get(block.cid) == block.data
    assert nodes.ours.get(block.cid) == block.data


def test_a_block_that_the_journal_does_not_have_is_taken_from_a_member(nodes: Nodes, journal: Journal) -> None:
    block = nodes.block()
    spoil(nodes.disk, [block.cid], flipped)
    assert OwnBlocks(nodes.ours, journal).get(block.cid) == block.data
    assert nodes.ours.get(block.cid) == block.data


def test_a_content_of_ours_is_fetched_again_from_a_member(nodes: Nodes) -> None:
    root, *chunks = nodes.content()
    spoil(nodes.disk, [root.cid, chunks[1].cid], flipped)
    source = EngineContents(nodes.ours).open(root.cid)
    assert [source.get(block.cid) for block in (root, *chunks)] == [block.data for block in (root, *chunks)]


@pytest.mark.parametrize("damage", EACH, ids=name_of)
@pytest.mark.parametrize("was_pinned", [False, True])
def test_a_content_whose_own_block_is_damaged_is_fetched_as_a_whole(
    nodes: Nodes, damage: Damage, *, was_pinned: bool
) -> None:
    root, *chunks = nodes.content()
    if not was_pinned:
        nodes.ours.unpin(root.cid)
    spoil(nodes.disk, [root.cid], damage)
    EngineContents(nodes.ours).fetch(root.cid, timeout=60.0, limit=1 << 20)
    assert list(nodes.ours.read_content(root.cid)) == [root, *chunks]


def test_what_nobody_has_whole_is_named(nodes: Nodes) -> None:
    block = raw_block(nodes.fresh.randbytes(1000))
    nodes.ours.put([block])
    spoil(nodes.disk, [block.cid], flipped)
    with pytest.raises(BlockMismatch):
        SoundBlocks(nodes.ours).get(block.cid, timeout=2.0)


def test_an_auditor_leaves_what_is_damaged_to_be_found_again(nodes: Nodes) -> None:
    block = nodes.block()
    spoil(nodes.disk, [block.cid], flipped)
    for _ in range(2):
        with pytest.raises(BlockMismatch):
            EngineSource(nodes.ours, 5.0).get(block.cid)


def test_a_sound_block_is_not_dropped(nodes: Nodes) -> None:
    block = raw_block(nodes.fresh.randbytes(1000))
    nodes.ours.put([block])
    nodes.ours.drop_damaged(block.cid)
    assert nodes.ours.has(block.cid)

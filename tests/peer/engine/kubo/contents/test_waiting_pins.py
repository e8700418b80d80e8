"""Pins of a managed node that are noted and set later: none is lost, and none is set that was undone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from peer.engine.kubo.contents.waiting_pins import WaitingPin, WaitingPins
from protocol.blocks.cid import CID, raw_block

ONE, TWO, THREE = (raw_block(b"%d" % number).cid for number in range(3))


class Node:
    """Sets pins, but for those of blocks that it ``lacks``. As a node, it stops at the first that it cannot set."""

    def __init__(self, *lacks: CID, says: str = "block was not found locally (offline)") -> None:
        self.lacks, self.says = lacks, says
        self.set: list[tuple[CID, bool]] = []
        self.calls = 0

    def add(self, cids: Sequence[CID], recursive: bool) -> str:
        self.calls += 1
        for cid in cids:
            if cid in self.lacks:
                return self.says
            self.set.append((cid, recursive))
        return ""


@pytest.fixture
def waiting(tmp_path: Path) -> WaitingPins:
    waiting = WaitingPins(tmp_path)
    waiting.prepare()
    return waiting


def test_what_was_noted_is_set_once_and_waits_no_more(waiting: WaitingPins) -> None:
    waiting.note([ONE, TWO], recursive=False)
    node = Node()
    assert waiting.settle(waiting.all(), node.add, lambda _: True) == {}
    assert sorted(node.set) == sorted([(ONE, False), (TWO, False)])
    assert (node.calls, waiting.all()) == (1, [])


def test_a_block_that_is_to_be_pinned_both_ways_is_pinned_alone_first(waiting: WaitingPins) -> None:
    """The other way round, the node refuses."""
    waiting.note([ONE], recursive=True)
    waiting.note([ONE], recursive=False)
    node = Node()
    waiting.settle(waiting.all(), node.add, lambda _: True)
    assert node.set == [(ONE, False), (ONE, True)]


def test_what_another_process_noted_is_seen(waiting: WaitingPins, tmp_path: Path) -> None:
    WaitingPins(tmp_path).note([ONE], recursive=True)
    assert waiting.all() == [WaitingPin(ONE, recursive=True)]


def test_a_pin_that_is_undone_is_not_set(waiting: WaitingPins) -> None:
    waiting.note([ONE, TWO], recursive=False)
    waiting.note([ONE], recursive=True)
    waiting.forget([ONE])
    assert waiting.all() == [WaitingPin(TWO, recursive=False)]


def test_a_pin_that_cannot_be_set_keeps_no_other_from_being_set_and_waits_on(waiting: WaitingPins) -> None:
    waiting.note([ONE, TWO, THREE], recursive=True)
    node = Node(TWO)
    assert waiting.settle(waiting.all(), node.add, lambda _: True) == {WaitingPin(TWO, recursive=True): node.says}
    assert {cid for cid, _ in node.set} == {ONE, THREE}
    assert waiting.all() == [WaitingPin(TWO, recursive=True)]


def test_the_pin_of_a_block_that_is_not_here_is_dropped(waiting: WaitingPins) -> None:
    """A power cut took the block, before anybody was told of it."""
    waiting.note([ONE], recursive=False)
    assert waiting.settle(waiting.all(), Node(ONE).add, lambda _: False) == {}
    assert waiting.all() == []


def test_a_block_that_is_pinned_with_all_it_links_to_need_not_be_pinned_alone(waiting: WaitingPins) -> None:
    waiting.note([ONE], recursive=False)
    node = Node(ONE, says=f"Error: pin: {ONE} already pinned recursively")
    assert waiting.settle(waiting.all(), node.add, lambda _: True) == {}
    assert waiting.all() == []


def test_in_a_repository_that_is_not_ours_no_pin_waits(tmp_path: Path) -> None:
    waiting = WaitingPins(tmp_path)
    assert not waiting.are_kept
    assert waiting.all() == []
    assert not list(tmp_path.iterdir())

"""How long a content is waited for that a node gets: as long as it comes, and not for what others send."""

from __future__ import annotations

import pytest

from peer.engine.kubo.contents.coming_contents import LASTING, SEND_SECONDS, Coming, ComingContents
from protocol.blocks.cid import raw_block

MOVED = 1 << 16
ROOT = raw_block(b"root").cid


@pytest.fixture
def contents() -> ComingContents:
    return ComingContents()


@pytest.fixture
def coming(contents: ComingContents) -> Coming:
    """One of which the first block has come."""
    coming = contents.take(ROOT)
    coming.note_received(0)
    coming.note(1, 1 << 20, 0.0)
    return coming


def test_bytes_without_a_block_keep_a_content_waiting_for_as_long_as_it_takes_to_send_one(coming: Coming) -> None:
    assert coming.moves(MOVED, 10.0)
    assert coming.moves(2 * MOVED, SEND_SECONDS - 1)
    assert not coming.moves(3 * MOVED, SEND_SECONDS)


def test_bytes_of_others_keep_no_content_waiting_of_which_there_is_no_block() -> None:
    coming = Coming()
    coming.note_received(0)
    assert not coming.moves(MOVED, 1.0)
    assert not coming.goes_on()


def test_what_does_not_move_is_not_coming(coming: Coming) -> None:
    assert not coming.moves(100, 10.0)
    assert not coming.goes_on()


def test_a_content_whose_blocks_come_goes_on(coming: Coming) -> None:
    coming.note(2, 2 << 20, 1.0)
    assert coming.goes_on()
    assert not coming.is_slow


def test_bytes_alone_count_once_and_after_that_one_block_is_fetched_at_a_time(
    coming: Coming, contents: ComingContents
) -> None:
    assert coming.moves(MOVED, 10.0)
    assert coming.goes_on()
    contents.end(ROOT, coming, is_whole=False)
    again = contents.take(ROOT)
    assert again.is_slow
    again.note_received(0)
    assert again.moves(MOVED, 10.0)
    assert not again.goes_on()
    again.note_one(1)
    assert again.goes_on()


def test_nothing_is_remembered_of_a_content_that_is_whole(coming: Coming, contents: ComingContents) -> None:
    contents.end(ROOT, coming, is_whole=True)
    assert contents.take(ROOT) is not coming


def test_what_came_one_block_at_a_time_counts_over_all_tries(contents: ComingContents) -> None:
    coming = contents.take(ROOT)
    coming.note_one(5)
    contents.end(ROOT, coming, is_whole=False)
    again = contents.take(ROOT)
    again.note_one(7)
    assert (again.blocks, again.size) == (2, 12)


def test_few_fetches_last_longer_than_they_were_given(contents: ComingContents) -> None:
    fetches = [(raw_block(bytes([number])).cid, Coming()) for number in range(LASTING + 1)]
    assert [contents.may_last(coming) for _, coming in fetches] == [True] * LASTING + [False]
    assert contents.may_last(fetches[0][1])
    contents.end(*fetches[0], is_whole=False)
    assert contents.may_last(fetches[-1][1])


@pytest.mark.parametrize(("blocks", "size", "lasts"), [(2, 100, True), (2_000, 2_000 * 40, False)])
def test_a_chain_of_small_blocks_does_not_last_longer_than_it_was_given(
    blocks: int, size: int, lasts: bool, coming: Coming, contents: ComingContents
) -> None:
    coming.note(blocks, size, 1.0)
    assert contents.may_last(coming) is lasts
    assert coming.goes_on() is lasts


def test_another_try_that_finds_what_is_here_is_no_block_that_comes(coming: Coming) -> None:
    coming.note(1, 1 << 20, 50.0)
    assert coming.waits_since == 0.0
    coming.note(2, 2 << 20, 60.0)
    assert coming.waits_since == 60.0

"""How long a content is waited for that a node gets: as long as it comes, and not for what others send."""

from __future__ import annotations

from contextlib import ExitStack

import pytest

from peer.engine.kubo.contents.coming_contents import LASTING, SEND_SECONDS, Coming, ComingContents, seconds_to_send
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
    again.note(2, 2 << 20, 20.0)
    assert again.goes_on()


def test_nothing_is_remembered_of_a_content_that_is_whole(coming: Coming, contents: ComingContents) -> None:
    contents.end(ROOT, coming, is_whole=True)
    assert contents.take(ROOT) is not coming


@pytest.mark.parametrize(("size", "seconds"), [(1, 10.0), (100_000, 10.0), (1 << 20, 85.9), (2 << 20, SEND_SECONDS)])
def test_a_node_has_longer_to_send_a_large_block_but_not_without_end(size: int, seconds: float) -> None:
    assert seconds_to_send(size) == pytest.approx(seconds, abs=0.1)


@pytest.mark.parametrize(("seconds", "is_slow"), [(5.0, False), (10.0, True)])
def test_the_time_of_one_block_tells_whether_a_line_carries_others_beside_it(
    seconds: float, is_slow: bool, coming: Coming
) -> None:
    """Of eight side by side each takes eight times as long, and a node gives up one of this size after 86 s."""
    coming.note_alone(1 << 20, seconds)
    assert coming.is_slow is is_slow


def test_a_line_that_was_slow_is_quick_again_after_two_blocks(coming: Coming) -> None:
    coming.note_alone(1 << 20, 60.0)
    slow = []
    for seconds in (0.1, 60.0, 0.1, 0.1):
        coming.note_alone(1 << 20, seconds)
        slow.append(coming.is_slow)
    assert slow == [True, True, True, False]


def test_few_single_blocks_last_longer_than_they_were_given(contents: ComingContents) -> None:
    with ExitStack() as others:
        lasting = [others.enter_context(contents.one_lasts()) for _ in range(LASTING + 1)]
        assert lasting == [True] * LASTING + [False]
    with contents.one_lasts() as may_last:
        assert may_last


def test_few_fetches_last_longer_than_they_were_given(contents: ComingContents) -> None:
    fetches = [(raw_block(bytes([number])).cid, Coming()) for number in range(LASTING + 1)]
    assert [contents.may_last(coming, 0.0) for _, coming in fetches] == [True] * LASTING + [False]
    assert contents.may_last(fetches[0][1], 1.0)
    contents.end(*fetches[0], is_whole=False)
    assert contents.may_last(fetches[-1][1], 2.0)


def test_contents_that_come_for_ever_do_not_keep_others_from_lasting(contents: ComingContents) -> None:
    """They may all be one member's."""
    endless = [Coming() for _ in range(LASTING)]
    for number, coming in enumerate(endless):
        assert contents.may_last(coming, float(number))
    other = Coming()
    assert not contents.may_last(other, SEND_SECONDS - 1)
    assert contents.may_last(other, SEND_SECONDS)
    assert [contents.may_last(coming, SEND_SECONDS) for coming in endless] == [False, True, True, True]


@pytest.mark.parametrize(("blocks", "size", "lasts"), [(2, 100, True), (2_000, 2_000 * 40, False)])
def test_a_chain_of_small_blocks_does_not_last_longer_than_it_was_given(
    blocks: int, size: int, lasts: bool, coming: Coming, contents: ComingContents
) -> None:
    coming.note(blocks, size, 1.0)
    assert contents.may_last(coming, 1.0) is lasts
    assert coming.goes_on() is lasts


def test_another_try_that_finds_what_is_here_is_no_block_that_comes(coming: Coming) -> None:
    coming.note(1, 1 << 20, 50.0)
    assert coming.waits_since == 0.0
    coming.note(2, 2 << 20, 60.0)
    assert coming.waits_since == 60.0

"""`strategy.contents.side_by_side`: as `map`, several at once, and never far ahead."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from strategy.contents.side_by_side import WORKERS, side_by_side


def test_results_come_in_the_order_of_the_items() -> None:
    assert list(side_by_side(str, range(100))) == [str(number) for number in range(100)]


def test_no_more_items_are_taken_than_threads_have_use_for() -> None:
    taken = []

    def items() -> Iterator[int]:
        for number in range(100):
            taken.append(number)
            yield number

    results = side_by_side(str, items())
    next(results)

    assert len(taken) == WORKERS + 1


def test_items_are_read_by_the_thread_that_asks() -> None:
    def items() -> Iterator[threading.Thread]:
        for _ in range(10):
            yield threading.current_thread()

    assert set(side_by_side(lambda thread: thread, items())) == {threading.current_thread()}


def test_what_an_item_raises_comes_out_and_no_thread_stays() -> None:
    before = threading.active_count()

    with pytest.raises(ZeroDivisionError):
        list(side_by_side(lambda number: 1 // number, [1, 2, 0, 3]))
    assert threading.active_count() == before

"""Long curves as few points: bounded, with every peak."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from peer.metrics.points import Point
from peer.web.curves import BUCKETS, MAX_CURVES, MAX_METRICS, MAX_OF_ONE, MAX_SHOWN, Curves, fewer, fewer_steps

numbers = st.lists(st.floats(-1e6, 1e6) | st.just(math.nan), min_size=9, max_size=40)


def point(step: int, value: float, who: str = "", metric: str = "loss") -> Point:
    return Point(step, step, 0.0, "train", who, len(who) or None, metric, value)


@given(numbers)
def test_a_long_curve_keeps_its_least_and_its_greatest_value(values: list[float]) -> None:
    steps = range(len(values))
    shown = [each for each in fewer(steps, values, 4) if not math.isnan(each)]
    there = [each for each in values if not math.isnan(each)]
    assert len(list(fewer(steps, values, 4))) == len(list(fewer_steps(steps, 4))) == 8
    assert (min(shown, default=0), max(shown, default=0)) == (min(there, default=0), max(there, default=0))


def test_the_steps_of_a_long_curve_rise() -> None:
    steps = list(fewer_steps(range(1, 10_001)))
    assert steps == sorted(set(steps))


def test_ten_thousand_rounds_of_ten_clients_are_a_thousand_points_each() -> None:
    curves = Curves()
    for step in range(10_000):
        for who in ("", *"abcdefghij"):
            curves.take(point(step, 1.0 if step == 5_000 and who == "c" else 0.5, who))
    (shown,) = curves.shown()
    assert {len(curve["y"]) for curve in shown["curves"]} == {len(shown["x"])} == {2 * BUCKETS}
    assert max(next(curve["y"] for curve in shown["curves"] if curve["who"] == "c")) == 1.0


def test_an_app_that_counts_its_rounds_again_has_one_curve_that_goes_on() -> None:
    curves = Curves()
    for exchange, round in enumerate((1, 2, 1, 2), 1):
        for who in ("", "a"):
            curves.take(Point(exchange, round, 0.0, "train", who, len(who) or None, "loss", exchange / 8))
    (shown,) = curves.shown()
    assert shown["x"] == [1, 2, 3, 4]
    assert [curve["y"] for curve in shown["curves"]] == [[0.125, 0.25, 0.375, 0.5]] * 2


def test_a_client_that_joins_late_has_no_numbers_before() -> None:
    curves = Curves()
    curves.take(point(1, 0.5))
    curves.take(point(2, 0.25))
    curves.take(point(2, 0.75, "late"))
    (shown,) = curves.shown()
    assert {curve["who"]: curve["y"] for curve in shown["curves"]} == {"": [0.5, 0.25], "late": [None, 0.75]}


def test_a_client_with_very_many_metrics_hides_none_that_all_have() -> None:
    curves = Curves()
    for number in range(MAX_CURVES):
        curves.take(point(1, 0.5, "hostile", f"m{number}"))
    for who in ("", "a", "b"):
        curves.take(point(1, 0.25, who))
    shown = curves.shown()
    assert (shown[0]["name"], len(shown[0]["curves"])) == ("train/loss", 3)
    assert (len(shown), curves.left_out) == (MAX_METRICS, MAX_OF_ONE + 1 - MAX_METRICS)


def test_many_clients_cannot_fill_the_memory_with_metrics() -> None:
    curves = Curves()
    for number in range(2 * MAX_CURVES):
        curves.take(point(1, 0.5, f"client {number // MAX_OF_ONE}", f"m{number}"))
    assert curves.left_out == MAX_CURVES - MAX_METRICS


def test_of_very_many_clients_a_chart_shows_some_and_says_how_many_more() -> None:
    curves = Curves()
    for number in range(MAX_SHOWN + 5):
        curves.take(point(1, 0.5, "x" * (number + 1)))
    (shown,) = curves.shown()
    assert (len(shown["curves"]), shown["left_out"]) == (MAX_SHOWN, 5)

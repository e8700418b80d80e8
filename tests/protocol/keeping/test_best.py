"""`protocol.keeping.best`: by which metric the best model is marked, and which it is."""

from __future__ import annotations

import math

import pytest

from protocol.keeping.best import BestBy, BestError, BestSoFar, Direction, parse_best


@pytest.mark.parametrize(
    ("text", "metric", "direction"),
    [
        ("accuracy", "accuracy", Direction.MAX),
        ("eval_loss", "eval_loss", Direction.MIN),
        ("Error", "Error", Direction.MIN),
        ("loss:max", "loss", Direction.MAX),
        ("top:5", "top:5", Direction.MAX),
        ("top:5:min", "top:5", Direction.MIN),
        ("a metric.auc", "a metric.auc", Direction.MAX),
    ],
)
def test_a_metric_says_which_value_is_better(text: str, metric: str, direction: Direction) -> None:
    assert parse_best(text) == BestBy(metric, direction)
    assert parse_best(str(parse_best(text))) == parse_best(text)


@pytest.mark.parametrize("text", ["", "  ", ":min", "x" * 257])
def test_a_text_that_names_no_metric_is_refused(text: str) -> None:
    with pytest.raises(BestError):
        parse_best(text)


def best_of(direction: Direction, *means: float | None) -> int | None:
    best = BestSoFar(BestBy("m", direction))
    for number, mean in enumerate(means, start=1):
        best.take(number, mean)
    return best.exchange


def test_the_best_is_the_first_of_the_largest_or_smallest() -> None:
    assert best_of(Direction.MAX, 0.5, 0.9, 0.9, 0.1) == 2
    assert best_of(Direction.MIN, 0.5, 0.1, 0.9, 0.1) == 2


@pytest.mark.parametrize("bad", [None, math.nan, math.inf, -math.inf])
def test_a_mean_that_is_no_finite_number_is_never_the_best(bad: float | None) -> None:
    assert best_of(Direction.MAX, bad, 0.5, bad) == 2
    assert best_of(Direction.MIN, bad, 0.5, bad) == 2
    assert best_of(Direction.MAX, bad) is None

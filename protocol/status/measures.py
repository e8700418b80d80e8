"""What clients measured, for people to see while a run goes on: a few numbers by name, as the apps call them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Final

from protocol.replies.reply_layout import ReplyLayout
from protocol.visible import named

Measures = tuple[tuple[str, float], ...]
"""Finite numbers by name. The names are others', and hostile."""

MOST: Final = 12
LONGEST: Final = 60
"""Characters of a name."""

WEIGHT: Final = "num-examples"
"""The metric by which Flower's strategies weigh what a client measured."""


def kept(measured: Iterable[tuple[str, float]]) -> Measures:
    """As many of them as people can look at."""
    fit = ((name, float(value)) for name, value in measured if len(name) <= LONGEST and math.isfinite(value))
    return tuple(value for value, _ in zip(fit, range(MOST), strict=False))


def measures_in(layout: ReplyLayout | None) -> Measures:
    """The numbers among the metrics of a reply. Names that several records have stand for the first."""
    numbers: dict[str, float] = {}
    for record in () if layout is None or layout.masked else layout.metrics:
        for metric in record.metrics:
            if metric.length is None:
                numbers.setdefault(metric.key, metric.number)
    return kept(numbers.items())


def renewed(before: Measures, newer: Measures) -> Measures:
    """The newest number of each name."""
    return kept({**dict(newer), **{name: value for name, value in before if name not in dict(newer)}}.items())


def mean_of(measured: Sequence[Measures]) -> Measures:
    """The mean of each number that all have, weighted by `WEIGHT` if all have that."""
    given = [dict(each) for each in measured]
    if not given:
        return ()
    weights = [each.get(WEIGHT, -1.0) for each in given]
    if min(weights) < 0 or not sum(weights) > 0:
        weights = [1.0] * len(given)
    total = sum(weights)
    common = [name for name in given[0] if name != WEIGHT and all(name in each for each in given)]
    means = ((name, sum(each[name] * w for each, w in zip(given, weights, strict=True)) / total) for name in common)
    return kept(means)


def in_words(measures: Measures) -> str:
    """As in ``loss 0.123, accuracy 0.9``."""
    return ", ".join(f"{named(name)} {value:.3g}" for name, value in measures if name != WEIGHT)

"""The numbers of a run as aligned columns, and fewer of them for a chart."""

from __future__ import annotations

import math
from array import array
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from peer.metrics.points import Point
from protocol.status.measures import WEIGHT
from protocol.visible import visible

MAX_CURVES: Final = 4000
"""Curves of a run that are kept: apps choose how many metrics there are."""

MAX_OF_ONE: Final = 100
"""Curves of one participant that are kept, so that none takes all places."""

MAX_METRICS: Final = 40
"""Metrics that are shown: those that most participants have."""

MAX_SHOWN: Final = 64
"""Curves of one metric that are shown."""

BUCKETS: Final = 500
"""Parts of a long curve. Of each, its least and its greatest value are shown, so that no peak is lost."""

LONGEST: Final = 80
"""Characters of a name that are kept."""


@dataclass(slots=True)
class Metric:
    """One metric, by step. NaN stands for what is not there."""

    steps: array[int] = field(default_factory=lambda: array("q"))
    curves: dict[str, array[float]] = field(default_factory=dict)
    """By participant; the mean is under the empty name."""

    newest: int | None = None
    """The exchange that the last step is of."""

    def add(self, exchange: int, step: int, who: str, value: float) -> None:
        """Add a value of an exchange. An app that counts its rounds from 1 again goes on behind the last one."""
        if exchange != self.newest:
            self.newest = exchange
            self.steps.append(max(step, self.steps[-1] + 1) if self.steps else step)
        curve = self.curves.setdefault(who, array("d"))
        curve.extend(math.nan for _ in range(len(self.steps) - len(curve)))
        curve[-1] = value


class Curves:
    """All metrics of a run."""

    def __init__(self) -> None:
        self._metrics: dict[str, Metric] = {}
        self._counts: Counter[str] = Counter()
        """How many curves each participant has."""

    def take(self, point: Point) -> None:
        """Take in a number; not a weight, which says nothing of a model. Once there are too many curves, no new one
        begins."""
        if point.metric == WEIGHT:
            return
        name = visible(f"{point.type or 'exchange'}/{point.metric}"[:LONGEST])
        who = "" if point.node is None else visible(point.participant[:LONGEST])
        metric = self._metrics.get(name)
        if metric is None or who not in metric.curves:
            if self._counts[who] >= MAX_OF_ONE or self._counts.total() >= MAX_CURVES:
                return
            self._counts[who] += 1
            metric = self._metrics.setdefault(name, Metric())
        metric.add(point.exchange, point.step, who, point.value)

    def shown(self) -> list[dict[str, Any]]:
        """Metrics for a chart each: ``x``, and ``y`` of each curve, as long as ``x``; None where there is no number."""
        chosen = sorted(self._metrics.items(), key=lambda each: len(each[1].curves), reverse=True)[:MAX_METRICS]
        return [_shown(name, metric) for name, metric in chosen]

    @property
    def left_out(self) -> int:
        """How many metrics are not shown."""
        return max(0, len(self._metrics) - MAX_METRICS)


def _shown(name: str, metric: Metric) -> dict[str, Any]:
    steps = metric.steps
    curves = sorted(metric.curves.items())[:MAX_SHOWN]
    return {
        "name": name,
        "x": list(fewer_steps(steps)),
        "curves": [{"who": who, "y": [_number(each) for each in fewer(steps, curve)]} for who, curve in curves],
        "left_out": len(metric.curves) - len(curves),
        "points": len(steps),
    }


def fewer_steps(steps: Sequence[int], buckets: int = BUCKETS) -> Iterator[float]:
    """The steps of what `fewer` gives: two for each bucket."""
    if len(steps) <= 2 * buckets:
        yield from steps
        return
    for begin, end in _buckets(len(steps), buckets):
        yield steps[begin]
        yield steps[end - 1] if end - begin > 1 else steps[begin] + 0.5


def fewer(steps: Sequence[int], values: Sequence[float], buckets: int = BUCKETS) -> Iterator[float]:
    """A curve with at most two values in each bucket: the least and the greatest, in the order in which they come."""
    count = len(steps)
    if count <= 2 * buckets:
        yield from values
        yield from (math.nan for _ in range(count - len(values)))
        return
    for begin, end in _buckets(count, buckets):
        there = [(value, at) for at, value in enumerate(values[begin:end]) if not math.isnan(value)]
        if not there:
            yield from (math.nan, math.nan)
            continue
        (first, _), (second, _) = sorted((min(there), max(there)), key=lambda each: each[1])
        yield from (first, second)


def _buckets(count: int, buckets: int) -> Iterator[tuple[int, int]]:
    for number in range(buckets):
        yield number * count // buckets, (number + 1) * count // buckets


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None

"""Which model of a run is the best one, by a metric that clients answered with.

The model that an exchange sent is as good as the mean of what its answers say of it. `strategy.contents.summary` has
the mean: weighted by ``num-examples`` if all answers have that. What clients say is their word: a mean that is no
finite number never is the best one, and a member that lies can make any model the best.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

LONGEST_METRIC: Final = 256
"""Characters of a metric's name."""

LONGEST_TEXT: Final = LONGEST_METRIC + 4
"""Characters of the text of a `BestBy`."""


class Direction(StrEnum):
    """Which value is better."""

    MIN = "min"
    MAX = "max"


class BestError(ValueError):
    """A text that names no metric."""


@dataclass(frozen=True, slots=True)
class BestBy:
    """By which metric a run marks its best model."""

    metric: str
    """Its name as `peer history` shows it."""
    direction: Direction

    def __str__(self) -> str:
        """The one text of it. `parse_best` reads it."""
        return f"{self.metric}:{self.direction.value}"


def parse_best(text: str) -> BestBy:
    """``METRIC``, ``METRIC:min`` or ``METRIC:max``. Without either, lower is better if the name has ``loss`` or
    ``error`` in it, and higher if not.

    Raises:
        BestError: if it names no metric.
    """
    name, colon, end = text.rpartition(":")
    if colon and end in tuple(Direction):
        metric, direction = name, Direction(end)
    else:
        metric = text
        lower = any(word in text.lower() for word in ("loss", "error"))
        direction = Direction.MIN if lower else Direction.MAX
    if not metric.strip():
        raise BestError("the best model needs the name of a metric, such as accuracy or eval_loss:min")
    if len(metric) > LONGEST_METRIC:
        raise BestError(f"a metric's name has at most {LONGEST_METRIC} characters, and this one has {len(metric)}")
    return BestBy(metric, direction)


@dataclass(slots=True)
class BestSoFar:
    """The best of the exchanges that were taken. Of equal ones, the first is it."""

    by: BestBy
    exchange: int | None = None
    """Its number; None if none has had the metric."""
    value: float | None = None

    def take(self, exchange: int, mean: float | None) -> bool:
        """Whether this exchange is the best by now. ``mean`` is None if not all its answers have the metric."""
        if mean is None or not math.isfinite(mean):
            return False
        if self.value is not None:
            is_better = mean > self.value if self.by.direction is Direction.MAX else mean < self.value
            if not is_better:
                return False
        self.exchange, self.value = exchange, mean
        return True

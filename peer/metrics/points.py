"""What clients measured in a run, one number at a time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from peer.history.rounds import Exchange

LEFT_OUT: Final = "pollen.left-out"
"""A metric of ours: 1 for each message to a participant whose reply the exchange did not wait for."""

LATE: Final = "pollen.late"
"""A metric of ours: how many exchanges late a reply came of which this exchange tells."""


@dataclass(frozen=True, slots=True)
class Point:
    """One number. Names are others', and hostile: whoever writes them down escapes them."""

    exchange: int
    """From 1, in the order of the chain."""
    round: int | None
    time: float
    """When its exchange was collected last, in seconds since 1970, by the server's clock."""
    type: str
    """The Flower types of the exchange's messages; empty if they cannot be read."""
    participant: str
    """The member's name; empty if it is the mean over all who answered."""
    node: int | None
    """The member's Flower node id."""
    metric: str
    value: float

    @property
    def step(self) -> int:
        """The round, or the exchange if the app does not number its rounds."""
        return self.exchange if self.round is None else self.round


def points_of(exchange: Exchange) -> Iterator[Point]:
    """What was measured, then who was left out, and whose reply came late."""
    yield from measured(exchange)
    time, kind = _place(exchange)
    for answer in exchange.answers:
        if answer.left_out:
            yield Point(exchange.number, exchange.round, time, kind, answer.name, answer.node, LEFT_OUT, 1.0)
    for late in exchange.late:
        lateness = float(exchange.number - late.exchange)
        yield Point(exchange.number, exchange.round, time, kind, late.name, late.node, LATE, lateness)


def measured(exchange: Exchange) -> Iterator[Point]:
    """The means of an exchange, then what each participant measured."""
    time, kind = _place(exchange)
    for metric, value in exchange.mean_metrics().items():
        yield Point(exchange.number, exchange.round, time, kind, "", None, metric, value)
    for answer in exchange.answers:
        for metric, number in answer.metrics.items():
            if isinstance(number, int | float) and not isinstance(number, bool):
                try:
                    value = float(number)
                except OverflowError:  # an app's own records may hold so large an integer
                    continue
                yield Point(exchange.number, exchange.round, time, kind, answer.name, answer.node, metric, value)


def _place(exchange: Exchange) -> tuple[float, str]:
    """Its time, and the types of its messages in one text."""
    return exchange.time if exchange.ended is None else exchange.ended, "+".join(exchange.types)

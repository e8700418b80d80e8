"""Which replies to one exchange a strategy takes. `strategy.replies.strategies_in_use` learns the rule from the
strategy's object; here it is applied to layouts.

It follows Flower's ``serverapp/strategy`` and ``server/strategy/aggregate.py`` line by line, so that it refuses nothing
that the strategy would take. `tests/strategy/replies/test_strategies_in_use.py` compares it with Flower's own code.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from protocol.replies.reply_layout import (
    Arithmetic,
    ArrayLayout,
    Likeness,
    MetricLayout,
    RecordLayout,
    ReplyLayout,
)

SHOWN: Final = 60
"""Characters of a name that a reason quotes."""


class Arrays(StrEnum):
    """What a strategy does with the arrays of replies."""

    IGNORED = "ignored"
    """Nothing that a layout could spoil."""
    MEAN = "mean"
    """Adds them up in place, array by array: numpy broadcasts a smaller one to a larger one that came first."""
    FREE_MEAN = "free-mean"
    """As `MEAN`, but each sum is a new array, which may be larger than both."""
    STACK = "stack"
    """Stacks them, so all have one shape."""
    TREES = "trees"
    """Takes one array with the key ``0`` from each reply: boosted trees, of any length."""


@dataclass(frozen=True, slots=True)
class StrategyRule:
    """What one strategy takes in answers to one type of message."""

    strategy: str
    """The name of its class, for people."""
    weight: str = ""
    """The metric that replies are weighted by; empty if it weights by no metric."""
    own: bool = False
    """Whether it is the app's own. Then it is only known that its replies are of one kind."""
    arrays: Arrays = Arrays.IGNORED
    one_array_record: bool = False
    by_place: bool = False
    """Whether it matches arrays by their place in the record, and not by their key."""
    floats: bool = False
    """Whether it computes in place in the arrays that came, which then have to hold floats."""
    as_sent: Likeness = Likeness.NONE
    """How close they have to be to what was dispatched, because it computes with that, too."""
    means_metrics: bool = False
    """Whether Flower takes the mean of the metrics. If not, a function of the app's own gets them."""
    divides: bool = False
    """Whether it divides by the sum of all weights."""
    selects: int | None = None
    """How many replies it takes the mean of, if it chooses among them."""
    sets_aside: int = 0
    """How many replies it leaves out, if it chooses among them and ``selects`` is None."""
    equal_weights: bool = False
    """Whether all weights have to be equal, and more than 0."""
    numbers: tuple[str, ...] = ()
    """Metrics that each reply needs, as one number each."""
    loss: str = ""
    """The metric that q-FedAvg weights by, raised to ``q``; empty for any other strategy."""
    q: float = 0.0
    older: str = ""
    """``fitres``, ``evaluateres``: the records are those of Flower's older machinery."""
    metrics_alike: bool = False
    """Whether a function of the app's own gets an older app's metrics, which then have to be of one kind."""

    # -- one reply ------------------------------------------------------------------------------------------------

    def weight_of(self, reply: ReplyLayout) -> MetricLayout | None:
        """The metric that the reply is weighted by."""
        if not self.weight:
            return None
        if self.older:
            name = f"{self.older}.num_examples"
            record = next((record for record in reply.metrics if record.name == name), None)
        else:
            record = reply.metrics[0] if len(reply.metrics) == 1 else None
        return record.metric(self.weight) if record is not None else None

    def why_no_weight(self, reply: ReplyLayout) -> str:
        """Why the reply's weight is no weight: not finite, or less than 0. (If it is no number, its structure is
        wrong.) Empty if it is a weight."""
        weight = self.weight_of(reply)
        if weight is not None and weight.length is None:
            if not math.isfinite(weight.number):
                return f"its {shown(self.weight)} is {weight.number}, not a finite number"
            if weight.number < 0:
                return f"its {shown(self.weight)} is {weight.number:g}: less than 0"
        loss = reply.metrics[0].metric(self.loss) if self.loss and len(reply.metrics) == 1 else None
        if loss is not None and loss.length is None and not all(0 <= each < math.inf for each in self._powers(loss)):
            no_weight = f"{self.strategy} makes no weight of that with q = {self.q:g}"
            return f"its {shown(self.loss)} is {loss.number:g}: {no_weight}"
        return ""

    def _powers(self, loss: MetricLayout) -> Iterator[float]:
        """What q-FedAvg multiplies with, as in ``flwr.serverapp.strategy.qfedavg.compute_delta_and_h``."""
        for factor, exponent in ((1.0, self.q), (self.q, self.q - 1)):
            try:
                yield factor * math.pow(loss.number + 1e-10, exponent)
            except ValueError:  # a negative number to a broken power
                yield math.nan
            except OverflowError:
                yield math.inf

    def why_not(self, reply: ReplyLayout) -> str:
        """Why the strategy would raise on the reply, whatever the others are; empty if it would take it."""
        if self.older:
            return self._why_not_older(reply)
        return "" if self.own else self._why_not_records(reply)

    def _why_not_older(self, reply: ReplyLayout) -> str:
        if reply.older:
            return reply.older
        weight = self.weight_of(reply)
        if weight is not None and weight.length is not None:
            return f"its {shown(self.weight)} is a list, not a number"
        if self.means_metrics:  # of an evaluation: the loss
            name = f"{self.older}.loss"
            loss = next((record.metric("loss") for record in reply.metrics if record.name == name), None)
            if loss is None or loss.length is not None:
                return "its loss is a list, not a number"
        return self._why_no_arithmetic(reply) or self._why_not_as_sent(reply)

    def _why_not_records(self, reply: ReplyLayout) -> str:
        if self.one_array_record and len(reply.arrays) != 1:
            return f"it has {_count(len(reply.arrays), 'array record')}, and {self.strategy} takes one"
        if len(reply.metrics) != 1:
            return f"it has {_count(len(reply.metrics), 'metric record')}, and {self.strategy} takes one"
        weight = self.weight_of(reply)
        if weight is None:
            return f"it lacks the metric {shown(self.weight)}, by which {self.strategy} weights replies"
        if weight.length is not None:
            return f"its {shown(self.weight)} is a list, not a number"
        for key in self.numbers:
            metric = reply.metrics[0].metric(key)
            if metric is None or metric.length is not None:
                return f"it lacks the metric {shown(key)} as a number, which {self.strategy} needs"
        return self._why_no_arithmetic(reply) or self._why_not_as_sent(reply)

    def _why_no_arithmetic(self, reply: ReplyLayout) -> str:
        if self.arrays is Arrays.IGNORED:
            return ""
        records = [record for record in reply.arrays if not self.older or record.name == f"{self.older}.parameters"]
        if self.arrays is Arrays.TREES and self.older:
            trees = all(array.trees for record in records for array in record.arrays)
            return "" if trees else "one of its arrays holds no boosted trees that can be added to others"
        if self.arrays is Arrays.TREES:
            keys = records[0].keys if records else ()
            if keys != ("0",):
                return f"{self.strategy} takes one array with the key '0'"
            return "" if records[0].arrays[0].trees else "its array holds no boosted trees that can be added to others"
        for record in records:
            for array in record.arrays:
                where = f"{shown(record.name)}/{shown(array.key)}"
                if array.arithmetic is Arithmetic.UNREADABLE:
                    return f"{where} is not in numpy's format, or not whole"
                whole = self.floats and array.arithmetic is Arithmetic.WHOLE
                if whole or array.arithmetic is Arithmetic.NONE:
                    return f"{where} is {array}: {self.strategy} cannot compute with that"
        return ""

    def _why_not_as_sent(self, reply: ReplyLayout) -> str:
        if reply.likeness >= self.as_sent:
            return ""
        return f"its arrays have other keys or shapes than were dispatched, with which {self.strategy} computes"

    # -- replies together -----------------------------------------------------------------------------------------

    def takes(self, replies: Sequence[ReplyLayout]) -> bool:
        """Whether the strategy takes these replies, in this order. Each has passed `why_not`."""
        if self.own:
            return len({frozenset(reply.records()) for reply in replies}) <= 1
        if self.older:
            configs = {reply.keys_in(f"{self.older}.metrics") for reply in replies} if self.metrics_alike else set()
            return len(configs) <= 1 and self._arrays_fit(replies)
        return self._records_fit(replies) and self._metrics_fit(replies) and self._arrays_fit(replies)

    def _records_fit(self, replies: Sequence[ReplyLayout]) -> bool:
        """As ``validate_message_reply_consistency``: the others have to match the first reply."""
        if not replies:
            return True
        first, *others = replies
        for name in ([first.arrays[0].name] if self.one_array_record else []) + [first.metrics[0].name]:
            keys = first.keys_in(name)
            if any(other.keys_in(name) != keys for other in others):
                return False
        return True

    def _metrics_fit(self, replies: Sequence[ReplyLayout]) -> bool:
        """As ``aggregate_metricrecords``."""
        lengths: dict[str, int | None] = {}
        for reply in replies:
            for metric in reply.metrics[0].metrics:
                if metric.key == self.weight:
                    continue
                length = lengths.setdefault(metric.key, metric.length)
                same_kind = (length is None) == (metric.length is None)
                if not same_kind or (self.means_metrics and length != metric.length):
                    return False
        return True

    def _arrays_fit(self, replies: Sequence[ReplyLayout]) -> bool:
        if self.arrays in (Arrays.IGNORED, Arrays.TREES):
            return True
        slots: dict[str | int, _Sum] = {}
        for at, reply in enumerate(replies):
            given = list(self._slots(reply))
            if self.by_place and at and len(given) != len(slots):
                return False
            for slot, array in given:
                if slot not in slots:
                    slots[slot] = _Sum(array.shape, array.arithmetic, fixed=bool(array.shape) or bool(self.older))
                    continue
                added = self._add(slots[slot], array)
                if added is None:
                    return False
                slots[slot] = added
        return True

    def _slots(self, reply: ReplyLayout) -> Iterator[tuple[str | int, ArrayLayout]]:
        for record in reply.arrays:
            if self.older and record.name != f"{self.older}.parameters":
                continue
            for at, array in enumerate(record.arrays):
                yield (at if self.by_place else array.key), array

    def _add(self, total: _Sum, array: ArrayLayout) -> _Sum | None:
        if self.arrays is Arrays.STACK:
            return total if total.shape == array.shape else None
        return total.with_(array, free=self.arrays is Arrays.FREE_MEAN, casts=bool(self.older))


@dataclass(frozen=True, slots=True)
class _Sum:
    """The sum of some arrays so far."""

    shape: tuple[int, ...]
    arithmetic: Arithmetic
    fixed: bool
    """Whether it is an array, to which the next one is added in place. A numpy number is replaced by the sum."""

    def with_(self, array: ArrayLayout, *, free: bool, casts: bool) -> _Sum | None:
        """The sum with another array; None if numpy raises."""
        shape = _broadcast(self.shape, array.shape)
        if shape is None:
            return None
        complex_ = array.arithmetic is Arithmetic.COMPLEX
        if self.fixed and not free:
            if shape != self.shape or (complex_ and self.arithmetic is not Arithmetic.COMPLEX and not casts):
                return None
            return self
        arithmetic = Arithmetic.COMPLEX if complex_ else self.arithmetic
        return _Sum(shape, arithmetic, fixed=bool(shape) or self.fixed)


def _broadcast(one: tuple[int, ...], other: tuple[int, ...]) -> tuple[int, ...] | None:
    """The shape of the sum of two arrays, as numpy has it; None if they cannot be added."""
    rank = max(len(one), len(other))
    wide = [(1,) * (rank - len(shape)) + shape for shape in (one, other)]
    if any(a != b and 1 not in (a, b) for a, b in zip(*wide, strict=True)):
        return None
    return tuple(b if a == 1 else a for a, b in zip(*wide, strict=True))


def difference(reply: ReplyLayout, usual: ReplyLayout) -> str:
    """How ``reply`` differs from ``usual``, for people."""
    return next(_differences(reply, usual), "its layout differs from that of the others")


def _differences(reply: ReplyLayout, usual: ReplyLayout) -> Iterator[str]:
    has, have = list(reply.records()), list(usual.records())
    for kind, name in have:
        if (kind, name) not in has:
            yield f"it lacks the {kind} record {shown(name)}, which the others have"
    for kind, name in has:
        if (kind, name) not in have:
            yield f"it has the {kind} record {shown(name)}, which the others do not have"
    yield from _keys_differ("array", reply.arrays, usual.arrays)
    yield from _keys_differ("metric", reply.metrics, usual.metrics)
    yield from _keys_differ("setting", reply.configs, usual.configs)
    yield from _arrays_differ(reply, usual)
    yield from _metrics_differ(reply, usual)


def _arrays_differ(reply: ReplyLayout, usual: ReplyLayout) -> Iterator[str]:
    others = {(record.name, array.key): array for record in usual.arrays for array in record.arrays}
    for record in reply.arrays:
        for array in record.arrays:
            other = others.get((record.name, array.key))
            if other is not None and (array.shape, array.arithmetic) != (other.shape, other.arithmetic):
                yield f"{shown(record.name)}/{shown(array.key)} is {array}, and the others have {other}"
        same = next((each for each in usual.arrays if each.name == record.name), None)
        if same is not None and same.keys != record.keys:
            yield f"the arrays of {shown(record.name)} are in another order than those of the others"


def _metrics_differ(reply: ReplyLayout, usual: ReplyLayout) -> Iterator[str]:
    others = {(record.name, metric.key): metric for record in usual.metrics for metric in record.metrics}
    for record in reply.metrics:
        for metric in record.metrics:
            other = others.get((record.name, metric.key))
            if other is not None and metric.length != other.length:
                yield f"its metric {shown(metric.key)} is {_kind(metric)}, and the others have {_kind(other)}"


def _keys_differ(what: str, records: Sequence[RecordLayout], usual: Sequence[RecordLayout]) -> Iterator[str]:
    for record, other in zip(records, usual, strict=False):
        has, have = set(record.keys), set(other.keys)
        if lacking := [key for key in other.keys if key not in has]:
            yield f"it lacks the {what} {shown(lacking[0])}, which the others have"
        if more := [key for key in record.keys if key not in have]:
            yield f"it has the {what} {shown(more[0])}, which the others do not have"


def _kind(metric: MetricLayout) -> str:
    return "a number" if metric.length is None else f"a list of {metric.length}"


def _count(number: int, what: str) -> str:
    return f"{number or 'no'} {what}{'s' if number > 1 else ''}"


def shown(name: str) -> str:
    """A name that somebody else chose, as a reason quotes it."""
    return repr(name if len(name) <= SHOWN else f"{name[:SHOWN]}...")

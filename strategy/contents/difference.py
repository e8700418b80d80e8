"""How two contents differ: whether only numbers do, as rounding may have them, and then by how much."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Final, Protocol

import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, MetricRecord, RecordDict
from numpy.typing import NDArray

from protocol.replay.differences import Difference
from strategy.contents.npy import DOUBLE, Numbers, Unit, change, numbers, pieces, stored, unit_of

Values = ArrayRecord | MetricRecord | ConfigRecord

Bound = NDArray[np.float64] | float | None
"""The most that rounding can move each number of a tensor; None if that cannot be derived."""


class Bounds(Protocol):
    """What rounding can cause in what an app sends."""

    def tensor(self, name: str) -> Bound:
        """In the tensor of this name."""

    def value(self, record: str, name: str) -> float | None:
        """In the number of this name in a `ConfigRecord` or `MetricRecord`."""

    def why_none(self) -> str:
        """Why there is none; empty if there is one."""


class NoBounds:
    """There are none."""

    def __init__(self, why: str = "") -> None:
        self._why = why

    def tensor(self, name: str) -> Bound:  # as the protocol has it
        """None."""
        return None

    def value(self, record: str, name: str) -> float | None:  # the same
        """None."""
        return None

    def why_none(self) -> str:
        """As given."""
        return self._why


NO_BOUNDS: Final = NoBounds()


def difference(
    recorded: RecordDict, ours: RecordDict, bounds: Bounds = NO_BOUNDS, before: Mapping[str, Array] | None = None
) -> Difference | None:
    """How ``ours`` differs from ``recorded``; None if they hold the same.

    It names the first tensor or value that exceeds its bound. If none does, it names the first thing that differs and
    is not a number, in the order of ``recorded``, settings last: what an app may compute hides nothing that it may not.
    If only numbers differ, it names the first that does; how far is told of all together. ``before`` is the model that
    was sent out before this one.
    """
    found = list(_all_differences(recorded, ours, bounds))
    apart = [each for each in found if isinstance(each, _Apart)]
    others = [each for each in found if isinstance(each, Difference)]
    beyond = next((each for each in apart if each.share is not None and each.share > 1), None)
    if others and beyond is None:
        return min(others, key=lambda each: each.record in recorded.config_records)
    if not apart:
        return None
    told = beyond or apart[0]
    shares = [each.share for each in apart]
    known = [share for share in shares if share is not None]
    is_bounded = len(known) == len(shares) or (told.share is not None and told.share > 1)
    return Difference(
        told.what,
        told.record,
        told.tensor,
        max(each.largest for each in apart),
        max(each.ulps for each in apart),
        _of_update(apart, recorded, before),
        max(known) if is_bounded else None,
        "" if is_bounded else bounds.why_none(),
    )


@dataclass(frozen=True, slots=True)
class _Apart:
    """Numbers that differ."""

    record: str
    tensor: str
    what: str
    largest: float
    ulps: float
    share: float | None
    """Of the bound; None if there is none."""
    squares: float
    """The squared norm of the difference, if it is a tensor's."""


def _all_differences(recorded: RecordDict, ours: RecordDict, bounds: Bounds) -> Iterator[Difference | _Apart]:
    for key in [*recorded, *(key for key in ours if key not in recorded)]:
        if key not in recorded or key not in ours:
            where = "was recorded and is missing" if key in recorded else "was not recorded"
            yield Difference(f"the record {key!r} {where}", key)
        else:
            yield from _in_record(key, recorded[key], ours[key], bounds)
    if list(recorded) != list(ours):
        yield Difference("the records are in another order", next(iter(recorded), ""))


def _in_record(key: str, recorded: Values, ours: Values, bounds: Bounds) -> Iterator[Difference | _Apart]:
    if type(recorded) is not type(ours):
        yield Difference(f"the record {key!r} was a {type(recorded).__name__}", key)
        return
    was, now = dict(recorded.items()), dict(ours.items())
    for name in [*was, *(name for name in now if name not in was)]:
        if name not in was or name not in now:
            where = "was recorded and is missing" if name in was else "was not recorded"
            yield Difference(f"{key!r}/{name!r} {where}", key, name)
        else:
            yield from _in_value(key, name, was[name], now[name], bounds)
    if list(was) != list(now):
        yield Difference(f"the keys of {key!r} are in another order", key)


def _in_value(key: str, name: str, was: object, now: object, bounds: Bounds) -> Iterator[Difference | _Apart]:
    if isinstance(was, Array) and isinstance(now, Array):
        yield from _in_tensor(key, name, was, now, bounds)
    elif isinstance(was, list) and isinstance(now, list) and len(was) == len(now):
        for at, (a, b) in enumerate(zip(was, now, strict=True)):
            yield from _in_value(key, f"{name}[{at}]", a, b, bounds)
    elif type(was) is not type(now) or repr(was) != repr(now):
        what = f"{key!r}/{name!r} was {was!r:.60} and is {now!r:.60}"
        if isinstance(was, float) and isinstance(now, float):
            found = _apart(key, name, "", np.asarray([was]), np.asarray([now]), DOUBLE, bounds.value(key, name))
            yield replace(found, what=what, squares=0.0)
        else:
            yield Difference(what, key, name)


def _in_tensor(key: str, name: str, was: Array, now: Array, bounds: Bounds) -> Iterator[Difference | _Apart]:
    where = f"the tensor {key!r}/{name!r}"
    if (was.dtype, was.shape, was.stype) != (now.dtype, now.shape, now.stype):
        yield Difference(f"{where} was {was.dtype}{was.shape} and is {now.dtype}{now.shape}", key, name)
        return
    if was.data == now.data:
        return
    recorded = stored(was)
    a, b, unit = numbers(was, recorded), numbers(now, stored(now)), unit_of(was, recorded)
    if a is None or b is None or unit is None or recorded is None or recorded != stored(now):
        yield Difference(f"{where} differs", key, name)
        return
    bound = bounds.tensor(name)
    if isinstance(bound, np.ndarray):
        bound = np.broadcast_to(bound, recorded.shape).ravel(order="F" if recorded.fortran else "C")
    yield _apart(key, name, where, a, b, unit, bound)


def _apart(key: str, name: str, where: str, was: Numbers, now: Numbers, unit: Unit, bound: Bound) -> _Apart:
    """How far apart two arrays of numbers are. Infinitely, if only one of two numbers is NaN or infinite; two NaNs do
    not differ."""
    largest = ulps = squares = share = 0.0
    is_bounded = bound is not None
    with np.errstate(all="ignore"):
        for a, b, at in pieces(was, now):
            apart = np.where((a == b) | (np.isnan(a) & np.isnan(b)), 0.0, np.abs(a - b))
            apart = np.nan_to_num(apart, nan=np.inf, posinf=np.inf)
            largest = max(largest, float(apart.max()))
            ulps = max(ulps, float(np.where(apart == 0, 0.0, apart / unit.at(np.abs(a))).max()))
            squares += float(np.vdot(apart, apart))
            if bound is not None:
                limit = bound[at] if isinstance(bound, np.ndarray) else np.full(len(apart), bound)
                counts = (apart > 0) & np.isfinite(limit)
                is_bounded = is_bounded and bool(np.all(counts | (apart == 0)))
                share = max(share, float(np.divide(apart, limit, where=counts, out=np.zeros_like(apart)).max()))
    what = f"{where} differs by {largest:.6g} at most"
    return _Apart(key, name, what, largest, ulps, share if is_bounded or share > 1 else None, squares)


def _of_update(apart: list[_Apart], recorded: RecordDict, before: Mapping[str, Array] | None) -> float | None:
    """The norm of the difference, relative to that of the change from ``before`` to what is recorded."""
    if before is None:
        return None
    total = 0.0
    for record in recorded.array_records.values():
        if record.keys() == before.keys():
            for name, array in record.items():
                other = before[name]
                total += change(array, stored(array), other, stored(other)) or 0.0
    return math.sqrt(sum(each.squares for each in apart) / total) if total else None

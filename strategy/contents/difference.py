"""How two contents differ: the first record and tensor that do, and by how much."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, MetricRecord, RecordDict

from strategy.contents.npy import opened

Values = ArrayRecord | MetricRecord | ConfigRecord


@dataclass(frozen=True, slots=True)
class Difference:
    """The first difference between two contents."""

    record: str
    """The key of the record."""
    tensor: str | None
    """The key of the tensor or value in it; None if the record itself is missing or of another type."""
    largest: float | None
    """The largest absolute difference between two tensors of one shape."""
    what: str
    """For people."""


def first_difference(recorded: RecordDict, ours: RecordDict) -> Difference | None:
    """The first difference, in the order of ``recorded``; None if they hold the same."""
    for key in [*recorded, *(key for key in ours if key not in recorded)]:
        if key not in recorded or key not in ours:
            where = "was recorded and is missing" if key in recorded else "was not recorded"
            return Difference(key, None, None, f"the record {key!r} {where}")
        if (found := _in_record(key, recorded[key], ours[key])) is not None:
            return found
    if list(recorded) != list(ours):
        return Difference(next(iter(recorded), ""), None, None, "the records are in another order")
    return None


def _in_record(key: str, recorded: Values, ours: Values) -> Difference | None:
    if type(recorded) is not type(ours):
        return Difference(key, None, None, f"the record {key!r} was a {type(recorded).__name__}")
    was, now = dict(recorded.items()), dict(ours.items())
    for name in [*was, *(name for name in now if name not in was)]:
        if name not in was or name not in now:
            where = "was recorded and is missing" if name in was else "was not recorded"
            return Difference(key, name, None, f"{key!r}/{name!r} {where}")
        if (found := _in_value(key, name, was[name], now[name])) is not None:
            return found
    if list(was) != list(now):
        return Difference(key, None, None, f"the keys of {key!r} are in another order")
    return None


def _in_value(key: str, name: str, was: object, now: object) -> Difference | None:
    if not isinstance(was, Array) or not isinstance(now, Array):
        if isinstance(was, list) and isinstance(now, list) and len(was) == len(now):
            pairs = ((f"{name}[{at}]", a, b) for at, (a, b) in enumerate(zip(was, now, strict=True)))
            return next((found for each in pairs if (found := _in_value(key, *each)) is not None), None)
        same = type(was) is type(now) and repr(was) == repr(now)
        return None if same else Difference(key, name, None, f"{key!r}/{name!r} was {was!r:.60} and is {now!r:.60}")
    if (was.dtype, was.shape, was.stype) != (now.dtype, now.shape, now.stype):
        return Difference(
            key, name, None, f"the tensor {key!r}/{name!r} was {was.dtype}{was.shape} and is {now.dtype}{now.shape}"
        )
    if was.data == now.data:
        return None
    largest = largest_difference(was, now)
    by = "" if largest is None else f" by {largest:.6g} at most"
    return Difference(key, name, largest, f"the tensor {key!r}/{name!r} differs{by}")


def largest_difference(was: Array, now: Array) -> float | None:
    """The largest absolute difference between two tensors of one shape; None if they are not numbers.

    Infinite if only one of two numbers is NaN or infinite. Two NaNs do not differ.
    """
    try:
        a, b = opened(was), opened(now)
    except ValueError:  # an app may put any bytes into an Array
        return None
    if a.shape != b.shape or not np.issubdtype(a.dtype, np.number) or not a.size:
        return None
    wide = np.complex128 if np.issubdtype(a.dtype, np.complexfloating) else np.float64
    a, b = a.astype(wide), b.astype(wide)
    with np.errstate(all="ignore"):
        apart = np.where((a == b) | (np.isnan(a) & np.isnan(b)), 0.0, np.abs(a - b))
    return float(np.nan_to_num(apart, nan=np.inf, posinf=np.inf).max())

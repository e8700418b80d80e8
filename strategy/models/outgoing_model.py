"""Finds numbers that have become NaN or infinite in a model that an app is about to send out."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
from flwr.app import Array, ArrayRecord, RecordDict
from numpy.typing import NDArray

from protocol.replies.strategy_rule import shown
from strategy.contents.npy import count_not_finite, not_finite, numbers, stored

Places = NDArray[np.bool_] | None
"""Which numbers of an array are not finite, in the order of its bytes; None: all are finite."""


class SpoiledModel(BaseException):
    """The run ends here, because its model is lost. Not an `Exception`, so that an app that goes on after any error
    does not go on after this one."""


class OutgoingModels:
    """Compares the arrays that an app sends out with the first one of each name. Safe from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._first: dict[str, dict[str, Places]] = {}
        """By record, and key in it."""

    def learn(self, records: RecordDict) -> None:
        """Remember which numbers are not finite in arrays that are sent out for the first time."""
        with self._lock:
            for name, key, array in _arrays(records):
                known = self._first.setdefault(name, {})
                if key not in known:
                    known[key] = _places(array)

    def spoiled(self, records: RecordDict) -> str:
        """What has become NaN or infinite; empty if nothing has."""
        with self._lock:
            found = (
                _newly(name, key, array, [self._first[name][key]])
                for name, key, array in _arrays(records)
                if key in self._first.get(name, {})
            )
            return next(filter(None, found), "")

    def spoiled_end(self, model: ArrayRecord) -> str:
        """The same for a final model. It has no record, so its arrays are compared with all of the same key."""
        with self._lock:
            for key, array in model.items():
                firsts = [known[key] for known in self._first.values() if key in known]
                if firsts and (what := _newly("the final model", key, array, firsts)):
                    return what
        return ""


def _arrays(records: RecordDict) -> Iterator[tuple[str, str, Array]]:
    for name, record in records.array_records.items():
        # an older app's model has another name in each type of message
        common = name.removeprefix("fitins.").removeprefix("evaluateins.")
        yield from ((common, key, array) for key, array in record.items())


def _values(array: Array) -> NDArray[Any] | None:
    return numbers(array, stored(array))


def _places(array: Array) -> Places:
    values = _values(array)
    return None if values is None or not count_not_finite(values) else not_finite(values)


def _newly(name: str, key: str, array: Array, firsts: list[Places]) -> str:
    values = _values(array)
    if values is None or not count_not_finite(values):
        return ""
    bad = not_finite(values)
    for first in firsts:
        if first is not None and len(first) == len(bad):
            bad &= ~first
    count = int(np.count_nonzero(bad))
    where = f"{shown(name)}/{shown(key)}"
    return f"{count} of the {len(values)} numbers of {where} have become NaN or infinite" if count else ""

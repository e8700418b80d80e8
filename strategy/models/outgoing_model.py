"""What of a model that an app is about to send out has become NaN or infinite, where its first model was not."""

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
"""Where an array is not finite, in the order of its bytes; None: nowhere."""


class SpoiledModel(BaseException):
    """The run ends here: its model is lost. No `Exception`, so that an app that goes on after any error does not."""


class OutgoingModels:
    """The arrays that an app sends out, compared with the first of each name. Safe from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._first: dict[str, dict[str, Places]] = {}
        """By record, and key in it."""

    def learn(self, records: RecordDict) -> None:
        """Keep where the arrays are not finite that are sent out for the first time."""
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
        """The same of a final model, which has no record: its arrays are compared with all of the same key."""
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

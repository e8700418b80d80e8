"""What a reply's content holds, beside the content it answers: is it as was asked, and how far from what was sent?

This finds; what of it refuses a reply is decided in `protocol.admission`. No declared size is believed: numbers are
views of bytes that are here. Of what is not kept for the app no more than one array is in memory. Nothing imports
torch.

An array is compared with the dispatched one of the same record and key. The records of Flower's older apps,
``fitins.parameters`` and ``fitres.parameters``, count as one. Records that were not dispatched are an app's own.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from flwr.app import Array, ArrayRecord, RecordDict

from protocol.admission import Check, Examination, Finding
from protocol.app_calls import ContentKey
from protocol.blocks import CID, BlockSource
from protocol.content import ContentError
from strategy.arrays import size_of
from strategy.content import DEFAULT_LIMITS, Limits, decode
from strategy.flower_compat import SECAGG_RECORD
from strategy.npy import Stored, change, count_not_finite, declared, numbers, stored

SHOWN: Final = 60
"""Characters of a name that a finding quotes."""


@dataclass(frozen=True, slots=True)
class Layout:
    """An array, but for its bytes."""

    dtype: str
    shape: tuple[int, ...]
    stype: str
    stored: Stored | None
    """What its bytes say; None where they are not in numpy's format."""

    def __str__(self) -> str:
        dtype, shape = (self.stored.dtype, self.stored.shape) if self.stored else (self.dtype, self.shape)
        own = "" if self.stored else " of a format of the app's own"
        return f"{str(dtype)[:SHOWN]}{list(shape)!s:.{SHOWN}}{own}"

    def takes(self, other: Layout) -> bool:
        """Whether ``other`` may stand where this was dispatched.

        Its numbers may be of a narrower type: the mean that Flower takes of float32 can be a float64, and that of a
        model's counters is, which a client's model makes what it was. A row of bytes may have any length: it is a
        format of the app's own (XGBoost's trees, say).
        """
        if self.stored is None or other.stored is None:
            return self == other
        if self.stored.is_row_of_bytes and other.stored.is_row_of_bytes:
            return True
        fits = (self.shape, self.stored.shape) == (other.shape, other.stored.shape)
        return fits and bool(np.can_cast(other.stored.dtype, self.stored.dtype, "safe"))


@dataclass(frozen=True, slots=True)
class Sent:
    """A dispatched content, as far as answers to it are compared with it."""

    root: CID
    records: Mapping[str, Mapping[str, Layout]]
    """The layouts of its arrays by record and key, in order."""
    size: int
    """Bytes of all its arrays."""
    masked: bool
    """Whether it is of secure aggregation: answers to it are masked, in a config, and their arrays taken out."""

    def counterpart(self, record: str) -> str:
        """The dispatched record that an answer's ``record`` is compared with; empty where there is none."""
        name = f"fitins.{record.removeprefix('fitres.')}" if record.startswith("fitres.") else record
        layouts = self.records.get(name, {}).values()
        # An array without type and bytes stands in Flower's older apps for a model that is yet to be made.
        return name if any(layout.stored or layout.dtype for layout in layouts) else ""


def opened_records(
    root: CID, source: BlockSource, key: ContentKey | None, limits: Limits = DEFAULT_LIMITS
) -> RecordDict:
    """The records of a content, plain where there is no ``key``; large arrays are read when they are used.

    Raises:
        ContentError: where it is malformed, also later, from an array.
        protocol.blocks.MissingBlock: where ``source`` lacks a block, also later.
    """
    return decode(root, source, key, limits)


def read_sent(root: CID, source: BlockSource, key: ContentKey | None) -> Sent:
    """What is to be known of a dispatched content that is encrypted with ``key``. Raises as `opened_records`."""
    content = opened_records(root, source, key)
    records: dict[str, dict[str, Layout]] = {}
    size = 0
    for name, record in content.array_records.items():
        layouts = records[name] = {}
        for array_key, array in _one_by_one(record):
            layouts[array_key] = layout = _layout(array, declared(array))
            size += layout.stored.size if layout.stored else len(array.data)
    return Sent(root, records, size, SECAGG_RECORD in content)


def examine(
    reply: CID,
    source: BlockSource,
    key: ContentKey | None,
    sent: Sent,
    *,
    update: bool,
    measured: RecordDict | None = None,
    limits: Limits = DEFAULT_LIMITS,
    keep: Callable[[int], bool] | None = None,
) -> tuple[Examination, RecordDict | None]:
    """What is found in the content ``reply``, an answer to ``sent``: the first finding of each check; and its records
    with all their arrays read, where ``keep`` says that so many bytes may stay, and nothing was found.

    ``update`` says whether the message asked for one. ``measured`` are the records of ``sent``, opened anew, where the
    norm of the change is asked for; they are used up. ``limits`` are the reply's: few blocks, linked often, are a large
    array.

    Raises:
        protocol.blocks.MissingBlock: where a block is not here. A malformed reply is a finding.
    """
    looking = _Looking(sent, update, measured if update else None)
    records = None
    kept = False
    try:
        records = opened_records(reply, source, key, limits)
        kept = keep is not None and keep(sum(map(size_of, _arrays_of(records))))
        for name, record in records.array_records.items():
            looking.at(name, record, _one_after_another(record) if kept else _one_by_one(record))
    except ContentError as error:
        looking.find(Check.READABLE, str(error))
    found = looking.examination()
    return found, records if kept and not found.findings else None


class _Looking:
    """One examination, array by array."""

    def __init__(self, sent: Sent, update: bool, measured: RecordDict | None) -> None:
        self._sent = sent
        self._update = update
        self._measured = measured if sent.records else None
        self._square = 0.0
        self._arrays = 0
        self._findings: dict[Check, Finding] = {}

    def find(self, check: Check, what: str) -> None:
        """Something is not as it should be."""
        self._findings.setdefault(check, Finding(check, what.encode("utf-8", "replace").decode()))

    def at(self, name: str, record: ArrayRecord, arrays: Iterator[tuple[str, Array]]) -> None:
        """Look at a record, whose ``arrays`` are given one at a time."""
        counterpart = self._sent.counterpart(name)
        layouts = self._sent.records.get(counterpart, {})
        before = self._measured.array_records.get(counterpart) if self._measured is not None else None
        if self._update and counterpart:
            self._compare_keys(name, list(layouts), list(record))
        for key, array in arrays:
            where = f"{_shown(name)}/{_shown(key)}"
            layout = _layout(array, stored(array))
            if self._update and key in layouts and not layouts[key].takes(layout):
                self.find(Check.STRUCTURE, f"{where} is {layout} where {layouts[key]} was dispatched")
            if self._update or counterpart:
                self._check_finite(where, array, layout.stored)
            if self._measured is not None:
                self._measure(where, array, layout, before.pop(key, None) if before is not None else None)

    def _compare_keys(self, name: str, sent: list[str], answered: list[str]) -> None:
        if sent == answered or (self._sent.masked and not answered):
            return
        shown, given, asked = _shown(name), set(answered), set(sent)
        if missing := [key for key in sent if key not in given]:
            self.find(Check.STRUCTURE, f"{shown} lacks {_shown(missing[0])}, which was dispatched")
        elif more := [key for key in answered if key not in asked]:
            self.find(Check.STRUCTURE, f"{shown} has {_shown(more[0])}, which was not dispatched")
        else:
            self.find(Check.STRUCTURE, f"the arrays of {shown} are in another order than was dispatched")

    def _check_finite(self, where: str, array: Array, stored: Stored | None) -> None:
        values = numbers(array, stored)
        if values is not None and (bad := count_not_finite(values)):
            self.find(Check.FINITE, f"{bad} of the {len(values)} numbers of {where} are NaN or infinite")

    def _measure(self, where: str, array: Array, layout: Layout, before: Array | None) -> None:
        self._arrays += 1
        square = None
        if before is not None:
            square = change(array, layout.stored, before, stored(before))
        if square is None:
            self.find(Check.NORM, f"the change of {where} cannot be measured, and there is a bound for it")
        else:
            self._square += square

    def examination(self) -> Examination:
        """What was found."""
        if self._measured is not None and not self._arrays:
            self.find(Check.NORM, "it holds no arrays, and there is a bound for their change")
        norm = math.sqrt(self._square) if self._measured is not None else None
        return Examination(tuple(self._findings.values()), norm)


def _one_by_one(record: ArrayRecord) -> Iterator[tuple[str, Array]]:
    """The arrays of a record that nobody else needs; each is freed before the next is read."""
    for key in list(record):
        yield key, record.pop(key)


def _arrays_of(records: RecordDict) -> Iterator[Array]:
    for record in records.array_records.values():
        yield from record.values()


def _one_after_another(record: ArrayRecord) -> Iterator[tuple[str, Array]]:
    """The arrays of a record that somebody needs afterwards: each is read whole before it is given."""
    for key, array in record.items():
        len(array.data)
        yield key, array


def _layout(array: Array, what: Stored | None) -> Layout:
    return Layout(array.dtype, tuple(array.shape), array.stype, what)


def _shown(name: str) -> str:
    return repr(name if len(name) <= SHOWN else f"{name[:SHOWN]}...")

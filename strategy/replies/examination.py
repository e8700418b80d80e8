"""Measures a reply's content: its layout, and how far it is from the content that it answers.

Here it is only measured; `protocol.replies.judged_replies` decides which replies are refused. No declared size is
believed: numbers are views of bytes that are here. No more than one large array is in memory: if the reply is kept for
the app, they are in a file. Nothing imports torch.

An array is compared with the dispatched array of the same record and key. The records of Flower's older apps,
``fitins.parameters`` and ``fitres.parameters``, count as the same, and so do two records that are the only ones in
their contents.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Final

from flwr.app import Array, ArrayRecord, RecordDict

from protocol.blocks.cid import CID, BlockSource
from protocol.blocks.content import ContentError, ContentKey
from protocol.replies.checks_and_limits import Check, Examination, FailedCheck
from protocol.replies.reply_layout import (
    Arithmetic,
    ArrayLayout,
    ArrayRecordLayout,
    ConfigRecordLayout,
    Likeness,
    MetricLayout,
    MetricRecordLayout,
    NotFinite,
    ReplyLayout,
)
from protocol.replies.strategy_rule import SHOWN, shown
from strategy.contents.array_files import ArrayFile
from strategy.contents.arrays import size_of, whole
from strategy.contents.codec import DEFAULT_LIMITS, Limits, decode
from strategy.contents.npy import Stored, change, count_newly_not_finite, count_not_finite, declared, numbers, stored
from strategy.flower_compat import NO_PARAMETERS, SECAGG_RECORD, Code, read_older
from strategy.replies.boosted_trees import are_trees

_OLDER: Final = ("fitins.", "evaluateins.", "getparametersins.")
"""How the names of the records begin that Flower's older machinery sends."""

Reopen = Callable[[], RecordDict]
"""Opens the dispatched content again."""


@dataclass(frozen=True, slots=True)
class Layout:
    """An array, without its bytes."""

    dtype: str
    shape: tuple[int, ...]
    stype: str
    stored: Stored | None
    """What its bytes say; None if they are not in numpy's format."""
    trees: bool = False
    """Whether its bytes are boosted trees that Flower can add to others. Not looked at in what was dispatched."""

    @property
    def arithmetic(self) -> Arithmetic:
        """What numpy can compute with its numbers."""
        if self.stored is None:
            return Arithmetic.UNREADABLE
        match self.stored.dtype.kind:
            case "b" | "i" | "u":
                return Arithmetic.WHOLE
            case "f":
                return Arithmetic.REAL
            case "c":
                return Arithmetic.COMPLEX
        return Arithmetic.NONE

    def named(self, key: str) -> ArrayLayout:
        """The layout under ``key``, as it is compared with the arrays of other replies."""
        if self.stored is not None:
            return ArrayLayout(key, str(self.stored.dtype)[:SHOWN], self.stored.shape, self.arithmetic, self.trees)
        dtype = f"{self.dtype[:SHOWN]} of a format of the app's own"
        return ArrayLayout(key, dtype, self.shape, self.arithmetic, self.trees)


@dataclass(frozen=True, slots=True)
class Sent:
    """A dispatched content, as far as its answers are compared with it."""

    root: CID
    records: Mapping[str, Mapping[str, Layout]]
    """The layouts of its arrays by record and key, in order."""
    size: int
    """Bytes of all its arrays."""
    masked: bool
    """Whether it belongs to secure aggregation. Then answers are masked, stand in a config, and have no arrays."""
    older: str = ""
    """How the names of the records in an answer begin, if Flower's older machinery sent it: ``fitres``, for example."""

    def counterpart(self, record: str, *, alone: bool = False) -> str:
        """The dispatched record that an answer's ``record`` is compared with; empty if there is none. ``alone`` says
        whether it is the answer's only array record."""
        name = counterpart(record, self.records, alone=alone)
        layouts = self.records.get(name, {}).values()
        # In Flower's older apps an array without type and bytes stands for a model that does not exist yet.
        return name if any(layout.stored or layout.dtype for layout in layouts) else ""


def counterpart(record: str, sent: Collection[str], *, alone: bool) -> str:
    """The name that an answer's ``record`` has among the ``sent`` ones, if it is there."""
    name = f"fitins.{record.removeprefix('fitres.')}" if record.startswith("fitres.") else record
    if alone and name not in sent and len(sent) == 1:
        (name,) = sent
    return name


def opened_records(
    root: CID, source: BlockSource, key: ContentKey | None, limits: Limits = DEFAULT_LIMITS
) -> RecordDict:
    """The records of a content, which is plain if ``key`` is None. Large arrays are read when they are used.

    Raises:
        ContentError: if it is malformed; an array may raise this later.
        protocol.blocks.cid.MissingBlock: if ``source`` lacks a block; an array may raise this later.
    """
    return decode(root, source, key, limits)


def read_sent(root: CID, source: BlockSource, key: ContentKey | None) -> Sent:
    """What examining answers needs of a dispatched content, encrypted with ``key``. Raises as `opened_records`."""
    return layout_of(root, opened_records(root, source, key))


def layout_of(root: CID, content: RecordDict) -> Sent:
    """As `read_sent`, of records that are here. No more than the beginning of each array is read."""
    older = next((begin for name in content for begin in _OLDER if name.startswith(begin)), "")
    records: dict[str, dict[str, Layout]] = {}
    size = 0
    for name, record in content.array_records.items():
        layouts = records[name] = {}
        for array_key, array in record.items():
            layouts[array_key] = layout = _layout(array, declared(array, any_type=bool(older)))
            size += layout.stored.size if layout.stored else size_of(array)
    return Sent(root, records, size, SECAGG_RECORD in content, older.replace("ins.", "res"))


def examine(
    reply: CID,
    source: BlockSource,
    key: ContentKey | None,
    sent: Sent,
    reopen: Reopen,
    *,
    update: bool,
    measure: bool = False,
    limits: Limits = DEFAULT_LIMITS,
    keep: Callable[[Sequence[Array]], ArrayFile | None] | None = None,
) -> tuple[Examination, RecordDict | None]:
    """Examine the content ``reply``, an answer to ``sent``.

    Returns its layout and the first failure of each check. Also returns its records, if ``keep`` gives a file for its
    arrays, all of them could be written there, and no failed check rules the reply out.

    ``update`` says whether the message asked for an update, ``measure`` whether to measure the norm of its change. For
    that, and if the reply holds NaN, ``reopen`` gives the records of ``sent``. ``limits`` bound the reply: a few
    blocks, linked many times, are a large array.

    Raises:
        protocol.blocks.cid.MissingBlock: if a block is not here. A malformed reply fails a check.
    """
    looking = _Looking(sent, reopen, update=update, measure=measure)
    records = None
    file = None
    try:
        records = opened_records(reply, source, key, limits)
        file = None if keep is None else keep(list(_arrays_of(records)))
        looking.over(records, _one_by_one if file is None else partial(_moved, file))
    except ContentError as error:
        looking.find(Check.READABLE, str(error))
    found = looking.examination()
    used = all(each.check is Check.NORM for each in found.failed)
    return found, records if file is not None and not file.broken and used else None


class _Looking:
    """One examination, array by array."""

    def __init__(self, sent: Sent, reopen: Reopen, *, update: bool, measure: bool) -> None:
        self._sent = sent
        self._reopen = reopen
        self._update = update
        self._before = reopen() if update and measure and sent.records else None
        self._square = 0.0
        self._failed: dict[Check, FailedCheck] = {}
        self._layout: ReplyLayout | None = None
        self._not_finite: list[NotFinite] = []
        self._likeness = Likeness.SAME

    def find(self, check: Check, what: str) -> None:
        """Note that a check fails. Only the first failure of each check counts."""
        self._failed.setdefault(check, FailedCheck(check, what.encode("utf-8", "replace").decode()))

    def over(self, records: RecordDict, arrays: Callable[[ArrayRecord], Iterator[tuple[str, Array]]]) -> None:
        """Examine all records, and the ``arrays`` of each record one at a time."""
        alone = len(records.array_records) == 1
        older, declined = _read_by_older(self._sent.older, records)
        found = [self._at(name, record, arrays(record), alone) for name, record in records.array_records.items()]
        if self._before is not None and not any(each.arrays for each in found):
            self.find(Check.NORM, "it holds no arrays, and there is a bound for their change")
        self._layout = ReplyLayout(
            tuple(found),
            tuple(
                MetricRecordLayout(name, tuple(_metric(key, value) for key, value in record.items()))
                for name, record in records.metric_records.items()
            ),
            tuple(ConfigRecordLayout(name, tuple(record)) for name, record in records.config_records.items()),
            self._likeness if found else Likeness.NONE,
            tuple(self._not_finite),
            older,
            declined,
            self._sent.masked,
        )

    def _at(
        self, name: str, record: ArrayRecord, arrays: Iterator[tuple[str, Array]], alone: bool
    ) -> ArrayRecordLayout:
        counterpart = self._sent.counterpart(name, alone=alone)
        sent = self._sent.records.get(counterpart, {})
        before = self._before.array_records.get(counterpart) if self._before is not None else None
        layouts: dict[str, Layout] = {}
        for key, array in arrays:
            layout = layouts[key] = _with_trees(array, _layout(array, self._stored(array)))
            where = f"{shown(name)}/{shown(key)}"
            if self._update:
                self._check_finite(name, key, array, layout, counterpart if key in sent else "")
            if self._before is not None:
                self._measure(where, array, layout, before.pop(key, None) if before is not None else None)
        self._likeness = min(self._likeness, _likeness(layouts, sent, same_name=counterpart == name))
        if self._sent.older:  # the older machinery has a place for this, and reads no array there
            layouts.pop(NO_PARAMETERS, None)
        return ArrayRecordLayout(name, tuple(layout.named(key) for key, layout in layouts.items()))

    def _stored(self, array: Array) -> Stored | None:
        return stored(array, any_type=bool(self._sent.older))

    def _check_finite(self, name: str, key: str, array: Array, layout: Layout, counterpart: str) -> None:
        values = numbers(array, layout.stored)
        if values is None or not (bad := count_not_finite(values)):
            return
        if not counterpart:
            self._not_finite.append(NotFinite(name, key, bad, len(values)))
            return
        sent = self._reopen().array_records[counterpart][key]
        if bad := count_newly_not_finite(array, layout.stored, sent, self._stored(sent)):
            where = f"{shown(name)}/{shown(key)}"
            self.find(Check.FINITE, f"{bad} of the {len(values)} numbers of {where} are NaN or infinite")

    def _measure(self, where: str, array: Array, layout: Layout, before: Array | None) -> None:
        square = None
        if before is not None:
            square = change(array, layout.stored, before, self._stored(before))
        if square is None:
            self.find(Check.NORM, f"the change of {where} cannot be measured, and there is a bound for it")
        else:
            self._square += square

    def examination(self) -> Examination:
        """The result."""
        measured = self._before is not None and Check.NORM not in self._failed
        norm = math.sqrt(self._square) if measured else None
        return Examination(tuple(self._failed.values()), norm, self._layout)


def _likeness(reply: Mapping[str, Layout], sent: Mapping[str, Layout], *, same_name: bool) -> Likeness:
    """How closely a record's layout follows that of the record that it answers."""
    if reply.keys() != sent.keys() or any(_shape(layout) != _shape(sent[key]) for key, layout in reply.items()):
        return Likeness.NONE
    if list(reply) != list(sent):
        return Likeness.ANY_ORDER
    dtypes = all(_dtype(layout) == _dtype(sent[key]) for key, layout in reply.items())
    return Likeness.SAME if dtypes and same_name else Likeness.IN_ORDER


def _shape(layout: Layout) -> tuple[int, ...]:
    return layout.stored.shape if layout.stored else layout.shape


def _dtype(layout: Layout) -> object:
    return layout.stored.dtype if layout.stored else (layout.stype, layout.dtype)


def _metric(key: str, value: int | float | list[int] | list[float]) -> MetricLayout:
    return MetricLayout(key, len(value)) if isinstance(value, list) else MetricLayout(key, number=float(value))


def _read_by_older(begin: str, records: RecordDict) -> tuple[str, bool]:
    """Why Flower's older machinery would raise on these records, and whether they say that the client failed."""
    if not begin:
        return "", False
    bare = RecordDict(
        {name: ArrayRecord() if isinstance(each, ArrayRecord) else each for name, each in records.items()}
    )
    try:
        return "", read_older(begin, bare).status.code != Code.OK
    except Exception as error:  # noqa: BLE001  # whatever Flower raises on it, it would raise in the app
        return f"Flower cannot read it as a {begin}: {type(error).__name__}: {str(error)[:SHOWN]}", False


def _one_by_one(record: ArrayRecord) -> Iterator[tuple[str, Array]]:
    """The arrays of a record that nobody needs afterwards. Each is freed before the next is read."""
    for key in list(record):
        yield key, record.pop(key)


def _arrays_of(records: RecordDict) -> Iterator[Array]:
    for record in records.array_records.values():
        yield from record.values()


def _moved(file: ArrayFile, record: ArrayRecord) -> Iterator[tuple[str, Array]]:
    """The arrays of a record that somebody needs afterwards. Each is read completely, into a ``file``. If that breaks,
    nobody needs what is left."""
    for key, array in list(record.items()):
        seen = file.move(array)
        yield key, record.pop(key) if seen is None else seen


def _with_trees(array: Array, layout: Layout) -> Layout:
    """``layout``, with ``trees`` set if the array begins like xgboost's JSON and Flower can add its boosted trees."""
    start = layout.stored.start if layout.stored else 0
    data = whole(array)
    end = start + layout.stored.size if layout.stored else len(data)
    if data[start : start + 1] != b"{":
        return layout
    return replace(layout, trees=are_trees(bytes(data[start:end])))


def _layout(array: Array, what: Stored | None) -> Layout:
    return Layout(array.dtype, tuple(array.shape), array.stype, what)

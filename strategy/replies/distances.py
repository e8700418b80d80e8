"""How far each update of an exchange was from their mean.

What is compared are *changes*: an update less the model that was sent for it (the update itself, if no model was sent).
The mean is of the changes, weighted or not. It is computed here, and need not be what a strategy makes of them.

All updates are read once, side by side, a chunk at a time: memory grows with the number of updates, and not with the
size of a model. Time grows with the blocks that are there: what links few of them again and again is not read to its
end.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Final

import numpy as np
from flwr.app import Array, RecordDict
from numpy.typing import NDArray

from protocol.blocks.cid import CID, BlockSource
from protocol.blocks.content import ContentKey
from strategy.contents.codec import decode
from strategy.contents.npy import Numbers, Stored, declared, number_pieces
from strategy.contents.side_by_side import side_by_side
from strategy.replies.examination import counterpart

_NUMBERS: Final = 1 << 18
"""How many numbers of all updates together are computed on at once: 2 MiB, which a processor's cache holds."""
_LEAST: Final = 1 << 12
"""How many of one update, however many updates there are."""

MAX_EXPANSION: Final = 16
"""How often the blocks of a content are read, on the average. Of a model in which much is still zero, or that a few
values fill, it is more than twice."""
_ALWAYS_READ: Final = 16 << 20
"""Bytes that are read of a content however few its blocks have together."""

Matrix = NDArray[np.float64]


class NotMeasured(Exception):
    """The updates cannot be compared number by number; says why."""


@dataclass(frozen=True, slots=True)
class Content:
    """A content, where its blocks are, and what it is encrypted with."""

    root: CID
    key: ContentKey | None


@dataclass(frozen=True, slots=True)
class Update:
    """What a client gave, and what it was given."""

    given: Content
    sent: Content
    weight: float


@dataclass(frozen=True, slots=True)
class UpdateDistance:
    """How far one update was from the mean. A number that is not finite is as it was computed: NaN, or infinite."""

    norm: float
    """The L2 norm of its change."""
    apart: float
    """The L2 norm of the difference between its change and the mean change."""
    cosine: float
    """Of the angle between its change and the mean change. NaN if one of them is zero."""


def update_distances(updates: Sequence[Update], source: BlockSource) -> tuple[float, list[UpdateDistance]]:
    """The L2 norm of the mean change, and each update's distance from it.

    Raises:
        NotMeasured: if there are no updates with arrays, they differ in layout, are no numbers, or expand without end.
        protocol.blocks.content.ContentError: if a content is malformed, or not encrypted with its key.
        protocol.blocks.cid.MissingBlock: if ``source`` lacks a block.
    """
    if not updates:
        raise NotMeasured("nobody sent an update")
    recent = _RecentBlocks(source, 2 * len(updates) + 2)
    opened = [decode(update.given.root, _BoundedContent(recent), update.given.key) for update in updates]
    keys = {update.sent.root: update.sent.key for update in updates}  # most often one model was sent to all
    sent = {root: decode(root, _BoundedContent(recent), key) for root, key in keys.items()}
    beside = [update.sent.root for update in updates]
    sums = _Sums([update.weight for update in updates])
    mapped = map if all(update.given.key is None for update in updates) else side_by_side  # threads are for decrypting
    for record, key in _places(opened):
        arrays = list(
            mapped(partial(_numbers, record=record), [each.array_records[record].pop(key) for each in opened])
        )
        if len({each.stored.shape for each in arrays}) > 1:
            raise NotMeasured("the updates have different shapes")
        before = {root: _sent(records, record, key, arrays[0].stored, opened[0]) for root, records in sent.items()}
        sums.over(arrays, before, beside)
    return sums.mean_norm, sums.distances()


class _RecentBlocks:
    """A source that has the blocks that were read last at hand: an array's first chunk is read for what it says it is,
    and then for its numbers."""

    def __init__(self, source: BlockSource, most: int) -> None:
        self._read = lru_cache(most)(source.get)

    def get(self, cid: CID) -> bytes:
        """As `BlockSource`."""
        return self._read(cid)


class _BoundedContent:
    """The blocks of one content, as long as it does not have the same ones read again and again. One who writes it may
    link a chunk so often that gigabytes stand in it."""

    def __init__(self, source: BlockSource) -> None:
        self._source = source
        self._read = 0
        """Bytes."""
        self._blocks: set[CID] = set()
        self._size = 0
        """Of the blocks that were read, each once."""

    def get(self, cid: CID) -> bytes:
        """As `BlockSource`; raises NotMeasured."""
        data = self._source.get(cid)
        self._read += len(data)
        if cid not in self._blocks:
            self._blocks.add(cid)
            self._size += len(data)
        if self._read > _ALWAYS_READ + MAX_EXPANSION * self._size:
            raise NotMeasured(f"a content links the same blocks more than {MAX_EXPANSION} times over")
        return data


@dataclass(frozen=True, slots=True)
class _Numbers:
    """An array, and how its numbers are stored."""

    array: Array
    stored: Stored

    def pieces(self, count: int, *, mixed: bool) -> Iterator[Numbers]:
        """Its numbers, ``count`` at a time. ``mixed`` says whether others store theirs in another order; then one that
        is stored by columns is read as a whole."""
        pieces = number_pieces(self.array, self.stored, count)
        if not (mixed and self.stored.fortran):
            return pieces
        if self.stored.dtype.kind == "c":
            raise NotMeasured("the updates store complex numbers in different orders")
        whole = np.concatenate(list(pieces)).reshape(self.stored.shape, order="F").ravel()
        return (whole[at : at + count] for at in range(0, len(whole), count))


class _Sums:
    """Squares and products, summed over all numbers."""

    def __init__(self, weights: Sequence[float]) -> None:
        self._weights = np.array(weights, np.float64) / sum(weights)
        self._count = max(_LEAST, _NUMBERS // len(weights))
        self._norms = np.zeros(len(weights))
        self._apart = np.zeros(len(weights))
        self._products = np.zeros(len(weights))
        self._mean = 0.0

    def over(self, arrays: Sequence[_Numbers], sent: dict[CID, _Numbers | None], beside: Sequence[CID]) -> None:
        """Add one array of each update; ``beside`` says which of ``sent`` each is compared with."""
        orders = {each.stored.fortran for each in (*arrays, *sent.values()) if each is not None}
        streams = [each.pieces(self._count, mixed=len(orders) > 1) for each in arrays]
        before = {
            root: None if each is None else each.pieces(self._count, mixed=len(orders) > 1)
            for root, each in sent.items()
        }
        with np.errstate(all="ignore"):  # what is not finite shows in the result
            for changes in _changes(streams, before, beside):
                self._add(changes)

    def _add(self, changes: Matrix) -> None:
        # Not by BLAS: it would have its threads wait for work, at twice the processor time, and its kernels sum in
        # another order on another processor.
        mean = np.einsum("i,ij->j", self._weights, changes)
        self._norms += np.einsum("ij,ij->i", changes, changes)
        self._products += np.einsum("ij,j->i", changes, mean)
        self._mean += float(np.einsum("j,j->", mean, mean))
        changes -= mean
        self._apart += np.einsum("ij,ij->i", changes, changes)

    @property
    def mean_norm(self) -> float:
        return math.sqrt(self._mean)

    def distances(self) -> list[UpdateDistance]:
        with np.errstate(all="ignore"):
            cosines = self._products / (np.sqrt(self._norms) * self.mean_norm)
            norms, apart = np.sqrt(self._norms), np.sqrt(self._apart)
        return [
            UpdateDistance(float(norm), float(distance), float(np.clip(cosine, -1.0, 1.0)))
            for norm, distance, cosine in zip(norms, apart, cosines, strict=True)
        ]


def _changes(
    streams: Sequence[Iterator[Numbers]], before: dict[CID, Iterator[Numbers] | None], beside: Sequence[CID]
) -> Iterator[Matrix]:
    """The changes of all updates, some numbers of each at a time. The next ones take their place."""
    room: Matrix | None = None
    try:
        for pieces in zip(*streams, strict=True):
            sent = {root: 0.0 if stream is None else next(stream).astype(float) for root, stream in before.items()}
            room = np.empty((len(pieces), len(pieces[0]))) if room is None else room
            changes = room[:, : len(pieces[0])]
            for row, piece, root in zip(changes, pieces, beside, strict=True):
                np.subtract(piece, sent[root], out=row, dtype=float)
            yield changes
    except ValueError as error:
        raise NotMeasured(str(error)) from error


def _places(opened: Sequence[RecordDict]) -> list[tuple[str, str]]:
    """The record and key of each array; all updates have to have the same."""
    places = [[(name, key) for name, record in each.array_records.items() for key in record] for each in opened]
    if not places or not places[0]:
        raise NotMeasured("the updates hold no arrays")
    if any(set(each) != set(places[0]) for each in places):
        raise NotMeasured("the updates do not hold the same arrays")
    return places[0]


def _numbers(array: Array, record: str) -> _Numbers:
    stored = declared(array, any_type=_is_older(record))
    if stored is None:
        raise NotMeasured("an array is not in numpy's format")
    return _Numbers(array, stored)


def _sent(records: RecordDict, record: str, key: str, like: Stored, update: RecordDict) -> _Numbers | None:
    """The array that was sent for the one at ``record`` and ``key``; None if there is none."""
    name = counterpart(record, records.array_records, alone=len(update.array_records) == 1)
    array = records.array_records[name].pop(key, None) if name in records.array_records else None
    if array is None or not (array.dtype or len(array.data)):
        return None
    found = _numbers(array, record)
    if found.stored.shape != like.shape:
        raise NotMeasured("the updates have other shapes than the model that was sent")
    return found


def _is_older(record: str) -> bool:
    return record.startswith("fitres.")

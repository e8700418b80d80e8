"""The medians and trimmed means of Flower's FedMedian and FedTrimmedAvg, some columns at a time.

Flower stacks one array of all updates, and has numpy make a partitioned copy of that stack: of a model in one array,
two copies of all updates. But no number of the result depends on another column of the stack. So large stacks are made
a block of columns after the other here, and Flower's own arithmetic is done on each. Updates that are read when they
are needed are read piece by piece: no more than a piece of each is in memory, encrypted or not. The bits are the same.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import wraps
from typing import Any, Final

import numpy as np
from flwr.app import Array, ArrayRecord, Message, MetricRecord
from flwr.serverapp.exception import AggregationError
from flwr.serverapp.strategy import FedAvg, FedMedian, FedTrimmedAvg, fedtrimmedavg
from numpy.typing import NDArray

from strategy.contents.arrays import size_of
from strategy.contents.npy import Stored, declared, raw_pieces
from strategy.flower_compat import source_hash

_KNOWN: Final = frozenset({"1f7bca4661d44883b1e56814cec33871e18e3b615fd565ff4545357e83104db7"})
"""SHA-256 of the sources of Flower's functions that compute as is done here. Others are left as they are."""
_KINDS: Final = frozenset(map(np.dtype, ("float32", "float64")))

WORTH_IT: Final = 16 << 20
"""Bytes of a stack, from which on it is made in blocks."""
_BLOCK: Final = 4 << 20
"""Bytes of a block of all updates."""

Numbers = NDArray[Any]
Reduce = Callable[[Numbers], Numbers]
Aggregated = tuple[ArrayRecord | None, MetricRecord | None]


@contextmanager
def column_blocks() -> Iterator[None]:
    """Have both strategies compute so."""
    median, trimmed = FedMedian.aggregate_train, FedTrimmedAvg.aggregate_train
    if source_hash(median, trimmed, fedtrimmedavg.trim_mean) not in _KNOWN:
        yield
        return
    FedMedian.aggregate_train = _medians  # type: ignore[method-assign]  # until the app has ended
    FedTrimmedAvg.aggregate_train = _trimmed_means  # type: ignore[method-assign]
    try:
        yield
    finally:
        FedMedian.aggregate_train = median  # type: ignore[method-assign]
        FedTrimmedAvg.aggregate_train = trimmed  # type: ignore[method-assign]


@wraps(FedMedian.aggregate_train)
def _medians(self: FedMedian, server_round: int, replies: Iterable[Message]) -> Aggregated:  # noqa: ARG001  # theirs
    """As ``FedMedian.aggregate_train``."""
    return _aggregated(self, replies, lambda layers: _reduced(layers, lambda stack: np.median(stack, axis=0)))


@wraps(FedTrimmedAvg.aggregate_train)
def _trimmed_means(self: FedTrimmedAvg, server_round: int, replies: Iterable[Message]) -> Aggregated:  # noqa: ARG001
    """As ``FedTrimmedAvg.aggregate_train``."""

    def reduced(layers: Sequence[Array]) -> Numbers:
        try:
            return _reduced(layers, lambda stack: fedtrimmedavg.trim_mean(stack, self.beta))
        except ValueError as error:
            raise AggregationError(
                f"Trimmed mean could not be computed. Likely cause: beta={self.beta} is too large."
            ) from error

    return _aggregated(self, replies, reduced)


def _aggregated(
    strategy: FedAvg, replies: Iterable[Message], reduced: Callable[[Sequence[Array]], Numbers]
) -> Aggregated:
    valid, _ = strategy._check_and_log_replies(replies, is_train=True)  # as Flower's own code does
    if not valid:
        return None, None
    records = [next(iter(message.content.array_records.values())) for message in valid]
    arrays = ArrayRecord()
    for name in list(records[0]):
        arrays[name] = Array(np.asarray(reduced([record.pop(name) for record in records])))
    metrics = strategy.train_metrics_aggr_fn([message.content for message in valid], strategy.weighted_by_key)
    return arrays, metrics


def _reduced(layers: Sequence[Array], reduce: Reduce) -> Numbers:
    """What ``reduce`` makes of the stack of ``layers``, which has a row for each."""
    what = _alike(layers)
    if what is None or len(layers) * what.size < WORTH_IT:
        return reduce(np.stack([layer.numpy() for layer in layers]))
    width = math.prod(what.shape)
    count = max(2, _BLOCK // (len(layers) * what.dtype.itemsize))
    while width > 1 and width % count == 1:  # numpy sums a single column in another order
        count += 1
    result: Numbers | None = None
    at = 0
    for block in zip(*(raw_pieces(layer, what, count) for layer in layers), strict=True):
        part = reduce(np.stack(block))
        if result is None:
            result = np.empty(width, part.dtype)
        result[at : at + len(part)] = part
        at += len(part)
    assert result is not None  # the stack has bytes
    return result.reshape(what.shape)


def _alike(layers: Sequence[Array]) -> Stored | None:
    """What each of ``layers`` is, if they are all stored alike, row by row, as numbers that have the byte order of this
    machine."""
    first, *others = [declared(layer) for layer in layers]
    if first is None or first.dtype not in _KINDS or first.fortran or first.swapped:
        return None
    if any(other != first for other in others):
        return None
    return first if all(first.start + first.size <= size_of(layer) for layer in layers) else None

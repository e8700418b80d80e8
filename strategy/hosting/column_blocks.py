"""The medians and trimmed means of Flower's FedMedian, FedTrimmedAvg and Bulyan, some columns at a time.

Flower stacks one array of all updates, and has numpy make a partitioned copy of that stack: of a model in one array,
two copies of all updates. Bulyan has all updates that it selected in memory, and seven more arrays of one array of
each. But no number of the result depends on another column of the stack. So large stacks are made
a block of columns after the other here, and Flower's own arithmetic is done on each. Updates that are read when they
are needed are read piece by piece: no more than a piece of each is in memory, encrypted or not. The bits are the same.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import wraps
from typing import Any, Final

import numpy as np
from flwr.app import Array, ArrayRecord, Message, MetricRecord, RecordDict
from flwr.serverapp.exception import AggregationError
from flwr.serverapp.strategy import Bulyan, FedAvg, FedMedian, FedTrimmedAvg, bulyan, fedtrimmedavg
from numpy.typing import NDArray

from strategy.contents.arrays import size_of
from strategy.contents.npy import Stored, declared, raw_pieces
from strategy.flower_compat import log, source_hash

_KNOWN: Final = frozenset(
    {
        "1f7bca4661d44883b1e56814cec33871e18e3b615fd565ff4545357e83104db7",  # the medians and trimmed means
        "92807b33dda6adf5cea7edb8eec48bcd672962749ea65c448dcefb4b3b7c3000",  # Bulyan
    }
)
"""SHA-256 of the sources of Flower's functions that compute as is done here. Others are left as they are."""
_KINDS: Final = frozenset(map(np.dtype, ("float32", "float64")))

WORTH_IT: Final = 16 << 20
"""Bytes of a stack, from which on it is made in blocks."""
_BLOCK: Final = 4 << 20
"""Bytes of a block of all updates."""
_TOGETHER: Final = 128
"""Columns of a block are a multiple of that. numpy computes on several numbers at once, and on those that are left over
one by one. Which they are makes a difference in one thing: whose sign a sum of two NaN has."""

Numbers = NDArray[Any]
Reduce = Callable[[Sequence[Numbers]], Numbers]
"""Makes one array of the same array of each update."""
Aggregated = tuple[ArrayRecord | None, MetricRecord | None]


@contextmanager
def column_blocks() -> Iterator[None]:
    """Have the three strategies compute so."""
    replaced: list[tuple[type[FedAvg], Callable[..., Aggregated]]] = []
    for strategies, theirs in _IN_PLACE_OF:
        if source_hash(*(strategy.aggregate_train for strategy in strategies), *theirs()) in _KNOWN:
            for strategy, ours in strategies.items():
                replaced.append((strategy, strategy.aggregate_train))
                strategy.aggregate_train = ours  # type: ignore[method-assign]  # until the app has ended
    try:
        yield
    finally:
        for strategy, plain in replaced:
            strategy.aggregate_train = plain  # type: ignore[method-assign]


@wraps(FedMedian.aggregate_train)
def _medians(self: FedMedian, server_round: int, replies: Iterable[Message]) -> Aggregated:  # noqa: ARG001  # theirs
    """As ``FedMedian.aggregate_train``."""
    return _aggregated(self, replies, lambda layers: _reduced(layers, lambda rows: np.median(np.stack(rows), axis=0)))


@wraps(FedTrimmedAvg.aggregate_train)
def _trimmed_means(self: FedTrimmedAvg, server_round: int, replies: Iterable[Message]) -> Aggregated:  # noqa: ARG001
    """As ``FedTrimmedAvg.aggregate_train``."""

    def trimmed(rows: Sequence[Numbers]) -> Numbers:
        try:
            found: Numbers = fedtrimmedavg.trim_mean(np.stack(rows), self.beta)
        except ValueError as error:
            raise AggregationError(
                f"Trimmed mean could not be computed. Likely cause: beta={self.beta} is too large."
            ) from error
        return found

    return _aggregated(self, replies, lambda layers: _reduced(layers, trimmed))


@wraps(Bulyan.aggregate_train)
def _closest_means(self: Bulyan, server_round: int, replies: Iterable[Message]) -> Aggregated:  # noqa: ARG001
    """As ``Bulyan.aggregate_train``."""
    valid, _ = self._check_and_log_replies(replies, is_train=True)
    bad = self.num_malicious_nodes
    if len(valid) < 4 * bad + 3:
        log(
            logging.WARNING,
            "Insufficient replies, skipping Bulyan aggregation: "
            "Required at least %d (4*num_malicious_nodes + 3), but received %d.",
            4 * bad + 3,
            len(valid),
        )
        return None, None
    selected = self.selection_rule([message.content for message in valid], bad, len(valid) - 2 * bad)
    beta = len(valid) - 4 * bad

    def closest(rows: Sequence[Numbers]) -> Numbers:
        (found,) = bulyan.aggregate_n_closest_weights([np.median(rows, axis=0)], [[row] for row in rows], beta)
        return found

    return _of_contents(self, selected, lambda layers: _reduced(layers, closest), _first_left)


def _first_left(record: ArrayRecord, _name: str) -> Array:
    """The next array of a ``record``: Flower's Bulyan goes by their order, and not by their names."""
    return record.pop(next(iter(record)))


def _aggregated(
    strategy: FedAvg, replies: Iterable[Message], reduced: Callable[[Sequence[Array]], Numbers]
) -> Aggregated:
    valid, _ = strategy._check_and_log_replies(replies, is_train=True)  # as Flower's own code does
    return _of_contents(strategy, [message.content for message in valid], reduced) if valid else (None, None)


def _of_contents(
    strategy: FedAvg,
    contents: list[RecordDict],
    reduced: Callable[[Sequence[Array]], Numbers],
    taken: Callable[[ArrayRecord, str], Array] = ArrayRecord.pop,
) -> Aggregated:
    records = [next(iter(content.array_records.values())) for content in contents]
    arrays = ArrayRecord()
    for name in list(records[0]):
        arrays[name] = Array(np.asarray(reduced([taken(record, name) for record in records])))
    return arrays, strategy.train_metrics_aggr_fn(contents, strategy.weighted_by_key)


def _reduced(layers: Sequence[Array], reduce: Reduce) -> Numbers:
    """What ``reduce`` makes of ``layers``."""
    what = _alike(layers)
    if what is None or len(layers) * what.size < WORTH_IT:
        return reduce([layer.numpy() for layer in layers])
    width = math.prod(what.shape)
    count = max(1, _BLOCK // (len(layers) * what.dtype.itemsize * _TOGETHER)) * _TOGETHER
    while width > 1 and width % count == 1:  # numpy sums a single column in another order
        count += _TOGETHER
    result: Numbers | None = None
    at = 0
    for block in zip(*(raw_pieces(layer, what, count) for layer in layers), strict=True):
        part = reduce(block)
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


_IN_PLACE_OF: Final[
    tuple[tuple[dict[type[FedAvg], Callable[..., Aggregated]], Callable[[], tuple[Callable[..., Any], ...]]], ...]
] = (
    ({FedMedian: _medians, FedTrimmedAvg: _trimmed_means}, lambda: (fedtrimmedavg.trim_mean,)),
    ({Bulyan: _closest_means}, lambda: (bulyan.aggregate_n_closest_weights,)),
)
"""What computes in the place of which strategies' ``aggregate_train``, and what else of Flower's these call."""

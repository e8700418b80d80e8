"""The summary of a content for people: metrics, settings and the shapes of arrays. No array's bytes are read.

Importing this does not import flwr: an audit has its app process begin first, which takes as long.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from protocol.blocks.cid import CID, BlockSource
from protocol.blocks.content import ContentKey
from protocol.status.measures import Measures, kept

if TYPE_CHECKING:
    from flwr.app import RecordDict

Shown = bool | int | float | str | bytes | list[bool] | list[int] | list[float] | list[str] | list[bytes]
"""What Flower's metrics and configs hold."""

ROUND_KEY = "server-round"
"""The key under which Flower's strategies name the round of a message."""

_OLDER = ("fitins.", "evaluateins.", "secaggplus_configs")
"""How the names of an older app's records begin; the last one is `strategy.flower_compat.SECAGG_RECORD`. Such an app
names the round in the message's group."""
_DIGITS = 16
_SHOWN_BITS = 4096
"""Bits of the largest integer that is shown. Python refuses to write more than 4,300 digits."""


@dataclass(frozen=True, slots=True)
class ArraySummary:
    """One array of a content."""

    record: str
    key: str
    dtype: str
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class RecordsSummary:
    """A content's records, without the bytes of arrays. Names are ``record.key``, or the key if that is unique."""

    arrays: tuple[ArraySummary, ...]
    metrics: dict[str, Shown]
    configs: dict[str, Shown]
    is_older: bool = False
    """Whether the machinery of Flower's older ``server_fn`` apps sent it."""

    def round(self, group: str) -> int | None:
        """The round that its configs name. An older app names it in the ``group`` of the message."""
        return _round_in(self.configs, group if self.is_older else "")


def summarise(root: CID, source: BlockSource, key: ContentKey | None) -> RecordsSummary:
    """The summary of a content that is encrypted with ``key``.

    Raises:
        protocol.blocks.content.ContentError: if it is no content of Flower records, or not encrypted with ``key``.
        protocol.blocks.cid.MissingBlock: if ``source`` lacks a block of its manifest.
    """
    from strategy.contents.codec import decode

    records = decode(root, source, key)
    arrays = tuple(
        ArraySummary(name, key, array.dtype, tuple(array.shape))
        for name, record in records.array_records.items()
        for key, array in record.items()
    )
    return RecordsSummary(arrays, metrics_of(records), _configs_of(records), _is_older(records))


def metrics_of(records: RecordDict) -> dict[str, Shown]:
    """All metrics of decoded records."""
    return _flat({name: dict(record) for name, record in records.metric_records.items()})


def measures_of(records: RecordDict) -> Measures:
    """The numbers among the metrics of decoded records, for people to see while the run goes on."""
    numbers = ((name, _number(value)) for name, value in metrics_of(records).items())
    return kept((name, value) for name, value in numbers if value is not None)


def round_of(records: RecordDict, group: str) -> int | None:
    """`RecordsSummary.round` of decoded records."""
    return _round_in(_configs_of(records), group if _is_older(records) else "")


def _configs_of(records: RecordDict) -> dict[str, Shown]:
    return _flat({name: dict(record) for name, record in records.config_records.items()})


def _is_older(records: RecordDict) -> bool:
    return any(name.startswith(_OLDER) for name in records)


def _round_in(configs: Mapping[str, Shown], group: str) -> int | None:
    for name, value in configs.items():
        if name.rpartition(".")[2] == ROUND_KEY and type(value) is int and 0 <= value < 10**_DIGITS:
            return value
    is_number = group.isascii() and group.isdecimal() and len(group) < _DIGITS
    return (int(group) or None) if is_number else None  # 0: before the first


def _flat(records: dict[str, dict[str, Shown]]) -> dict[str, Shown]:
    count = Counter(key for record in records.values() for key in record)
    return {
        key if count[key] == 1 else f"{name}.{key}": value
        for name, record in records.items()
        for key, value in record.items()
    }


def weights_of(given: Sequence[Mapping[str, Shown]]) -> list[float] | None:
    """How much each of several answers counts in their mean: its ``num-examples``. None if not all have that, or all
    are 0: then they count alike."""
    weights = [_number(metrics.get("num-examples")) for metrics in given]
    known = [weight for weight in weights if weight is not None and weight >= 0]
    return known if len(known) == len(given) and sum(known) > 0 else None


def mean_metrics(given: Sequence[Mapping[str, Shown]]) -> dict[str, float]:
    """The mean of each numeric metric that all of ``given`` have, weighted by `weights_of`."""
    if not given:
        return {}
    weights = weights_of(given) or [1.0] * len(given)
    means: dict[str, float] = {}
    for name in given[0]:
        values = [value for metrics in given if (value := _number(metrics.get(name))) is not None]
        if name != "num-examples" and len(values) == len(given):
            means[name] = sum(v * w for v, w in zip(values, weights, strict=True)) / sum(weights)
    return means


def _number(value: Shown | None) -> float | None:
    if not isinstance(value, int | float) or isinstance(value, bool):
        return None
    try:
        return float(value)
    except OverflowError:  # no message carries so large an integer, but an app's own records may hold one
        return math.inf if value > 0 else -math.inf


def to_json(value: Shown) -> object:
    """``value`` as JSON can hold it: numbers that JSON lacks become text, bytes become hex."""
    match value:
        case float() if not math.isfinite(value):
            return str(value)
        case int() if value.bit_length() > _SHOWN_BITS:
            return f"an integer of {value.bit_length()} bits"
        case bytes():
            return value.hex()
        case list():
            return [to_json(item) for item in value]
    return value

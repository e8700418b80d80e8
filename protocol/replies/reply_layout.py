"""What a reply's content looks like, without the bytes of its arrays. Replies to one exchange are compared by it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum, StrEnum


class Arithmetic(StrEnum):
    """What can be computed with an array's numbers."""

    WHOLE = "whole"
    """Booleans and integers: their mean is a float."""
    REAL = "real"
    """Floats."""
    COMPLEX = "complex"
    NONE = "none"
    """Texts, dates and plain bytes: numpy refuses to take their mean."""
    UNREADABLE = "unreadable"
    """No numpy array, or an incomplete one: Flower's ``Array.numpy`` raises."""


class Likeness(IntEnum):
    """How closely the layout of a reply's arrays follows that of the dispatched ones."""

    NONE = 0
    ANY_ORDER = 1
    """The same keys and shapes."""
    IN_ORDER = 2
    """In the same order, too."""
    SAME = 3
    """In records of the same names, with numbers of the same types, too."""


@dataclass(frozen=True, slots=True)
class ArrayLayout:
    """An array, without its bytes."""

    key: str
    dtype: str
    """For people. As the array's bytes say, if they can be read."""
    shape: tuple[int, ...]
    arithmetic: Arithmetic
    trees: bool = False
    """Whether its bytes are boosted trees that Flower can add to others."""

    def __str__(self) -> str:
        return f"{self.dtype}{list(self.shape)!s:.60}"


@dataclass(frozen=True, slots=True)
class MetricLayout:
    """A metric, and its value if that is one number."""

    key: str
    length: int | None = None
    """The length of a list; None if it is one number."""
    number: float = 0.0


@dataclass(frozen=True, slots=True)
class ArrayRecordLayout:
    """An ``ArrayRecord``."""

    name: str
    arrays: tuple[ArrayLayout, ...]
    """In order."""

    @property
    def keys(self) -> tuple[str, ...]:
        """The keys of its arrays, in order."""
        return tuple(array.key for array in self.arrays)


@dataclass(frozen=True, slots=True)
class MetricRecordLayout:
    """A ``MetricRecord``."""

    name: str
    metrics: tuple[MetricLayout, ...]

    @property
    def keys(self) -> tuple[str, ...]:
        """The keys of its metrics, in order."""
        return tuple(metric.key for metric in self.metrics)

    def metric(self, key: str) -> MetricLayout | None:
        """The metric with that key."""
        return next((metric for metric in self.metrics if metric.key == key), None)


@dataclass(frozen=True, slots=True)
class ConfigRecordLayout:
    """A ``ConfigRecord``."""

    name: str
    keys: tuple[str, ...]


RecordLayout = ArrayRecordLayout | MetricRecordLayout | ConfigRecordLayout


@dataclass(frozen=True, slots=True)
class NotFinite:
    """An array that holds NaN or infinities, and that has no counterpart in what was dispatched."""

    record: str
    key: str
    count: int
    size: int


@dataclass(frozen=True, slots=True)
class ReplyLayout:
    """A reply's records."""

    arrays: tuple[ArrayRecordLayout, ...] = ()
    metrics: tuple[MetricRecordLayout, ...] = ()
    configs: tuple[ConfigRecordLayout, ...] = ()
    likeness: Likeness = Likeness.NONE
    not_finite: tuple[NotFinite, ...] = ()
    older: str = ""
    """Why Flower's older machinery, which asked for it, cannot read it; empty if it can."""
    declined: bool = False
    """Whether it is an older app's answer that says that the client failed. No strategy uses it."""
    masked: bool = False
    """Whether it belongs to secure aggregation, which shows only what its own protocol needs."""

    def records(self) -> Iterator[tuple[str, str]]:
        """The kind and name of each record."""
        yield from (("array", record.name) for record in self.arrays)
        yield from (("metric", record.name) for record in self.metrics)
        yield from (("config", record.name) for record in self.configs)

    def keys_in(self, name: str) -> frozenset[str]:
        """The keys of the record with that name, of any kind; empty if there is no such record."""
        every: tuple[RecordLayout, ...] = (*self.arrays, *self.metrics, *self.configs)
        return next((frozenset(record.keys) for record in every if record.name == name), frozenset())

"""What a reply's content looks like, but for the bytes of its arrays: replies to one exchange are compared by it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum, StrEnum


class Arithmetic(StrEnum):
    """What can be computed with an array's numbers."""

    WHOLE = "whole"
    """Booleans and integers: a mean of them is a float."""
    REAL = "real"
    """Floats."""
    COMPLEX = "complex"
    NONE = "none"
    """Texts, dates, bytes without a meaning: numpy refuses to take a mean of them."""
    UNREADABLE = "unreadable"
    """No numpy array, or not a whole one: Flower's ``Array.numpy`` raises."""


class Likeness(IntEnum):
    """How much the arrays of a reply are laid out as those that it answers."""

    NONE = 0
    ANY_ORDER = 1
    """The same keys and shapes."""
    IN_ORDER = 2
    """In the same order, too."""
    SAME = 3
    """In records of the same names, with numbers of the same types, too."""


@dataclass(frozen=True, slots=True)
class ArrayLayout:
    """An array, but for its bytes."""

    key: str
    dtype: str
    """For people; of what its bytes say, where they can be read."""
    shape: tuple[int, ...]
    arithmetic: Arithmetic
    trees: bool = False
    """Whether its bytes are boosted trees that Flower can add to others."""

    def __str__(self) -> str:
        return f"{self.dtype}{list(self.shape)!s:.60}"


@dataclass(frozen=True, slots=True)
class MetricLayout:
    """A metric, and its value where that is one number."""

    key: str
    length: int | None = None
    """Of a list; None: it is one number."""
    number: float = 0.0


@dataclass(frozen=True, slots=True)
class ArrayRecordLayout:
    """An ``ArrayRecord``."""

    name: str
    arrays: tuple[ArrayLayout, ...]
    """In order."""

    @property
    def keys(self) -> tuple[str, ...]:
        """Of its arrays, in order."""
        return tuple(array.key for array in self.arrays)


@dataclass(frozen=True, slots=True)
class MetricRecordLayout:
    """A ``MetricRecord``."""

    name: str
    metrics: tuple[MetricLayout, ...]

    @property
    def keys(self) -> tuple[str, ...]:
        """Of its metrics, in order."""
        return tuple(metric.key for metric in self.metrics)

    def metric(self, key: str) -> MetricLayout | None:
        """The metric of that key."""
        return next((metric for metric in self.metrics if metric.key == key), None)


@dataclass(frozen=True, slots=True)
class ConfigRecordLayout:
    """A ``ConfigRecord``."""

    name: str
    keys: tuple[str, ...]


RecordLayout = ArrayRecordLayout | MetricRecordLayout | ConfigRecordLayout


@dataclass(frozen=True, slots=True)
class NotFinite:
    """An array that holds NaN or infinities, and answers none that was dispatched."""

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
    """Of an answer to a message of Flower's older machinery: why that cannot read it; empty if it can."""
    declined: bool = False
    """Whether it is an older app's answer that says itself that it failed: no strategy makes anything of it."""
    masked: bool = False
    """Whether it is of secure aggregation, which shows of it what its own protocol needs."""

    def records(self) -> Iterator[tuple[str, str]]:
        """The kind and name of each record."""
        yield from (("array", record.name) for record in self.arrays)
        yield from (("metric", record.name) for record in self.metrics)
        yield from (("config", record.name) for record in self.configs)

    def keys_in(self, name: str) -> frozenset[str]:
        """The keys of the record of that name, whatever its kind; none if there is no such record."""
        every: tuple[RecordLayout, ...] = (*self.arrays, *self.metrics, *self.configs)
        return next((frozenset(record.keys) for record in every if record.name == name), frozenset())

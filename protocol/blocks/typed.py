"""From plain values to frozen dataclasses and back: the one way bytes from outside become types.

A value is accepted only if writing the dataclass again gives the very same plain value. That refuses unknown fields,
missing defaults and look-alike types without a rule for each.

A field that came later than its type is written only if it says something (`left_out`). So the plain values of before
stay what they were, and there is still one way to write each.
"""

from __future__ import annotations

from dataclasses import field, fields, is_dataclass
from enum import Enum
from functools import lru_cache
from typing import Any, Final, TypeVar

import msgspec

from crypto.described_types import described
from protocol.blocks.cid import CID, encode_cbor
from protocol.blocks.listing import Listing

T = TypeVar("T")

_PLAIN: Final = frozenset({bytes, str, int, float, bool, type(None), CID})

_LEFT_OUT: Final = "left out"


class ShapeError(Exception):
    """A value that does not have the shape it should; the message says which part."""


def left_out(default: T) -> T:
    """The default of a field of a dataclass that is left out of the plain value if it has that default."""
    later: Any = field(default=default, metadata={_LEFT_OUT: True})  # as `dataclasses.field`, which says T too
    return later  # type: ignore[no-any-return]


def to_plain(value: Any) -> Any:  # any field of a dataclass
    """Dataclasses as maps, tuples as lists, enums as their values; the rest as it is."""
    kind = type(value)
    if kind in _PLAIN:
        return value
    if kind is tuple or kind is list:
        return [to_plain(item) for item in value]
    if kind is Listing:
        return value.value if isinstance(value.value, CID) else list(value.value)  # its items are plain
    if isinstance(value, Enum):
        return value.value
    return _to_map(value, kind) if is_dataclass(kind) else value


def _to_map(value: object, kind: type) -> dict[str, Any]:
    always, later = _names(kind)
    plain = {name: to_plain(getattr(value, name)) for name in always}
    for name, default in later:
        if (said := getattr(value, name)) != default:
            plain[name] = to_plain(said)
    return plain


@lru_cache(maxsize=256)
def _names(kind: type) -> tuple[tuple[str, ...], tuple[tuple[str, object], ...]]:
    """The fields that are always written, and those that are left out if they have their default, with that."""
    later = tuple((each.name, each.default) for each in fields(kind) if _LEFT_OUT in each.metadata)
    return tuple(each.name for each in fields(kind) if _LEFT_OUT not in each.metadata), later


def from_plain(value: Any, kind: type[T]) -> T:  # plain values have no better type
    """``value`` as a ``kind``.

    Raises:
        ShapeError: if it is not exactly one.
    """
    try:
        typed = msgspec.convert(value, described(kind), dec_hook=_custom)
    except (msgspec.ValidationError, ValueError) as error:
        raise ShapeError(f"{kind.__name__}: {error}") from error
    if encode_cbor(to_plain(typed)) != encode_cbor(value):  # not ==, which takes 1 for 1.0
        raise ShapeError(f"{kind.__name__}: it has unknown fields")
    return typed


def _custom(kind: type, value: object) -> object:
    if kind is CID and isinstance(value, CID):
        return value
    if kind is Listing:
        if isinstance(value, CID):
            return Listing(value)
        if isinstance(value, list):
            return Listing(tuple(value))
    raise ValueError(f"expected {kind.__name__}, got {type(value).__name__}")

"""From plain values to frozen dataclasses and back: the one way bytes from outside become types.

A value is accepted only if writing the dataclass again gives the very same plain value. That refuses unknown fields,
missing defaults and look-alike types without a rule for each.
"""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from enum import Enum
from functools import lru_cache
from typing import Any, Final, TypeVar

import msgspec

from protocol.blocks.cid import CID, encode_cbor
from protocol.blocks.listing import Listing

T = TypeVar("T")

_PLAIN: Final = frozenset({bytes, str, int, float, bool, type(None), CID})


class ShapeError(Exception):
    """A value that does not have the shape it should; the message says which part."""


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
    return {name: to_plain(getattr(value, name)) for name in _names(kind)} if is_dataclass(kind) else value


@lru_cache(maxsize=256)
def _names(kind: type) -> tuple[str, ...]:
    return tuple(field.name for field in fields(kind))


def from_plain(value: Any, kind: type[T]) -> T:  # plain values have no better type
    """``value`` as a ``kind``.

    Raises:
        ShapeError: if it is not exactly one.
    """
    try:
        typed = msgspec.convert(value, kind, dec_hook=_custom)
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

"""From plain values to frozen dataclasses and back: the one way bytes from outside become types.

A value is accepted only where writing the dataclass again gives the very same plain value, so that unknown fields,
missing defaults and look-alike types are refused without a rule for each.
"""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from enum import Enum
from typing import Any, TypeVar

import msgspec

from protocol.blocks import CID, encode_cbor
from protocol.trees import Listing

T = TypeVar("T")


class ShapeError(Exception):
    """A value that does not have the shape it should; the message says where."""


def to_plain(value: Any) -> Any:  # any field of a dataclass
    """Dataclasses as maps, tuples as lists, enums as their values; the rest as it is."""
    if is_dataclass(value):
        return {field.name: to_plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, tuple | list):
        return [to_plain(item) for item in value]
    if isinstance(value, Listing):
        return to_plain(value.value)
    if isinstance(value, Enum):
        return value.value
    return value


def from_plain(value: Any, kind: type[T]) -> T:  # plain values have no better type
    """``value`` as a ``kind``.

    Raises:
        ShapeError: where it is not exactly one.
    """
    try:
        typed = msgspec.convert(value, kind, dec_hook=_custom)
    except (msgspec.ValidationError, ValueError) as error:
        raise ShapeError(f"{kind.__name__}: {error}") from error
    if encode_cbor(to_plain(typed)) != encode_cbor(value):  # not ==, which takes 1 for 1.0
        raise ShapeError(f"{kind.__name__}: it has fields that are not known")
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

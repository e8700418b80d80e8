"""Dataclasses as the values that JSON is made of, with CIDs as text, and back."""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec

from crypto.described_types import described
from protocol.blocks.cid import CID, MalformedCid

T = TypeVar("T")


class NotOfKind(ValueError):
    """A value that is not of the kind it should be; the message says which part."""


def json_value(value: object) -> Any:  # whatever JSON has
    """Dataclasses as objects, tuples as lists, enums as their values, CIDs as text."""
    return msgspec.to_builtins(value, enc_hook=_text)


def from_json_value(value: Any, kind: type[T]) -> T:
    """``value``, as JSON was read, as a ``kind``. Fields that ``kind`` does not have are passed over.

    Raises:
        NotOfKind: if it is none. Nothing else is raised, whatever the value.
    """
    try:
        return msgspec.convert(value, described(kind), dec_hook=_cid)
    except (ValueError, RecursionError) as error:
        raise NotOfKind(str(error)) from error


def _text(value: object) -> str:
    if isinstance(value, CID):
        return str(value)
    raise TypeError(f"a {type(value).__name__} does not go into JSON")


def _cid(kind: type, value: object) -> object:
    if kind is not CID or not isinstance(value, str):
        raise ValueError(f"expected {kind.__name__}, got {type(value).__name__}")
    try:
        return CID.parse(value)
    except MalformedCid as error:
        raise ValueError(str(error)) from None

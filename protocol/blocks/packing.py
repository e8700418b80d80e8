"""Msgpack with CIDs, each as its 36 bytes, and one way to write each value: how announcements, messages about joining
and what goes through the pipe of an app process are written."""

from __future__ import annotations

from typing import TypeVar

import msgspec

from crypto.described_types import described
from protocol.blocks.cid import CID, MalformedCid

T = TypeVar("T")


class NotPacked(Exception):
    """Bytes that are not the one way to write a value."""


def packed(value: object) -> bytes:
    """``value`` in msgpack."""
    return msgspec.msgpack.encode(value, enc_hook=_encode_cid)


def unpacked(data: bytes | msgspec.Raw, kind: type[T]) -> T:
    """The ``kind`` in ``data``.

    Raises:
        NotPacked: if there is none, or it may be written in another way. Nothing else is raised, whatever the bytes.
    """
    try:
        value: T = msgspec.msgpack.decode(data, type=described(kind), dec_hook=_decode_cid)
        exact = packed(value) == bytes(data)
    except (msgspec.DecodeError, ValueError, MalformedCid, RecursionError) as error:
        raise NotPacked(str(error)) from error
    if not exact:
        raise NotPacked("it is not the one way to write this")
    return value


def _encode_cid(value: object) -> bytes:
    if isinstance(value, CID):
        return bytes(value)
    raise TypeError(f"{type(value).__name__} does not go into a message")


def _decode_cid(kind: type, value: object) -> CID:
    if kind is CID and isinstance(value, bytes):
        return CID(value)
    raise ValueError(f"expected a CID, got {type(value).__name__}")

"""The values of `protocol.app.calls` as frames on the pipe between the peer and its app process, and on the
socket for blocks.

A frame is four bytes, big-endian, with the number of bytes that follow, and the msgpack array
``[type name, field, ...]``. A value inside a value is a map of its fields; a CID is the extension type 1 with its
36 bytes. A frame that is not the one encoding of its value is refused.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import fields
from typing import Any, Final, get_args

import msgpack
import msgspec

from protocol.app.calls import Framed
from protocol.blocks.cid import CID, MalformedCid
from protocol.blocks.typed import to_plain

MAX_FRAME: Final = 64 << 20
"""Bytes. A push to ten thousand nodes has some 2 MB."""

_CID: Final = 1
_LENGTH: Final = struct.Struct(">I")
_TYPES: Final[dict[str, type[Framed]]] = {kind.__name__: kind for kind in get_args(Framed)}


class PipeError(Exception):
    """What came through the pipe is no frame, or a value does not fit into a frame."""


def encode(value: Framed) -> bytes:
    """``value`` as one frame, its length included.

    Raises:
        PipeError: if it is too large, or holds an integer beyond 64 bits or text that is not Unicode.
    """
    body = _encode_body(value)
    if len(body) > MAX_FRAME:
        raise PipeError(f"a {type(value).__name__} of {len(body)} bytes is more than a frame holds ({MAX_FRAME})")
    return _LENGTH.pack(len(body)) + body


def decode(body: bytes) -> Framed:
    """The value of a frame without its length.

    Raises:
        PipeError: if it holds no such value.
    """
    try:
        name, *values = msgpack.unpackb(body, ext_hook=_extension, strict_map_key=True)
    except (ValueError, TypeError, msgpack.UnpackException, MalformedCid, RecursionError) as error:
        raise PipeError(f"not a frame: {error}") from error
    kind = _TYPES.get(name) if isinstance(name, str) else None
    if kind is None:
        raise PipeError(f"a frame of an unknown type: {str(name)[:40]!r}")
    names = [field.name for field in fields(kind)]
    if len(values) != len(names):
        raise PipeError(f"a {name} has {len(names)} fields, not {len(values)}")
    try:
        value = msgspec.convert(dict(zip(names, values, strict=True)), kind)
    except msgspec.ValidationError as error:
        raise PipeError(f"not a {name}: {error}") from error
    if _encode_body(value) != body:
        raise PipeError(f"a {name} that is not written the one way")
    return value


class FrameReader:
    """Splits a stream of bytes into values."""

    def __init__(self, limit: int = MAX_FRAME) -> None:
        self._limit = limit
        self._pending = bytearray()

    def feed(self, data: bytes) -> Iterator[Framed]:
        """The values that are complete now, in order.

        Raises:
            PipeError: if a frame is larger than the limit, or malformed.
        """
        self._pending += data
        while len(self._pending) >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(self._pending)
            if length > self._limit:
                raise PipeError(f"a frame of {length} bytes is more than {self._limit}")
            end = _LENGTH.size + length
            if len(self._pending) < end:
                return
            body = bytes(self._pending[_LENGTH.size : end])
            del self._pending[:end]
            yield decode(body)


def _encode_body(value: Framed) -> bytes:
    parts = [type(value).__name__, *(to_plain(getattr(value, field.name)) for field in fields(value))]
    try:
        packed = msgpack.packb(parts, default=_default)
    except ValueError as error:  # a UnicodeEncodeError is one
        raise PipeError(f"a {type(value).__name__} cannot go through the pipe: {error}") from error
    assert isinstance(packed, bytes)
    return packed


def _default(value: object) -> msgpack.ExtType:
    if isinstance(value, CID):
        return msgpack.ExtType(_CID, bytes(value))
    # for example an integer beyond 64 bits, which a run config may hold
    raise PipeError(f"{str(value)[:80]} ({type(value).__name__}) cannot go through the pipe")


def _extension(code: int, data: bytes) -> Any:  # the signature that msgpack has
    if code != _CID:
        raise PipeError(f"extension type {code} is not known")
    return CID(data)

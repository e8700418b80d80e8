"""The values of `protocol.app.calls` as frames on the pipe between the peer and its app process, and on the
socket for blocks.

A frame is four bytes, big-endian, with the number of bytes that follow, and the msgpack array ``[type name, fields]``
(`protocol.blocks.packing`). A frame that is not the one encoding of its value is refused.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Final, get_args

import msgspec

from protocol.app.calls import Framed
from protocol.blocks.packing import NotPacked, packed, unpacked

MAX_FRAME: Final = 64 << 20
"""Bytes. A push to ten thousand nodes has some 2 MB."""

_LENGTH: Final = struct.Struct(">I")
_TYPES: Final[dict[str, type[Framed]]] = {kind.__name__: kind for kind in get_args(Framed)}


class PipeError(Exception):
    """What came through the pipe is no frame, or a value does not fit into a frame."""


class _Frame(msgspec.Struct, frozen=True, array_like=True):
    name: str
    value: msgspec.Raw


def encode(value: Framed) -> bytes:
    """``value`` as one frame, its length included.

    Raises:
        PipeError: if it is too large, or holds an integer beyond 64 bits, text that is not Unicode or a number or text
            of an app's own class.
    """
    name = type(value).__name__
    try:
        body = packed((name, value))
    except (ValueError, OverflowError, TypeError) as error:  # a UnicodeEncodeError is a ValueError
        raise PipeError(f"a {name} cannot go through the pipe: {error}") from error
    if len(body) > MAX_FRAME:
        raise PipeError(f"a {name} of {len(body)} bytes is more than a frame holds ({MAX_FRAME})")
    return _LENGTH.pack(len(body)) + body


def decode(body: bytes) -> Framed:
    """The value of a frame without its length.

    Raises:
        PipeError: if it holds no such value.
    """
    try:
        frame = unpacked(body, _Frame)
        if frame.name not in _TYPES:
            raise PipeError(f"a frame of an unknown type: {frame.name[:40]!r}")
        return unpacked(frame.value, _TYPES[frame.name])
    except NotPacked as error:
        raise PipeError(f"not a frame: {error}") from error


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

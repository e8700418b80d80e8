"""The values of `protocol.app.calls` as frames on the pipe between the peer and its app process, and those of
`protocol.app.block_calls` on the socket for blocks.

A frame is the msgpack array ``[type name, value]``; the value is packed by itself (`protocol.blocks.packing`), as bytes
in it. So frames can follow one another, and a value that is not written in the one way is refused.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, get_args

import msgpack

from protocol.app.block_calls import BlockAnswer, BlockCall
from protocol.app.calls import FromApp, ToApp
from protocol.blocks.packing import NotPacked, packed, unpacked

Framed = FromApp | ToApp | BlockCall | BlockAnswer

MAX_FRAME: Final = 64 << 20
"""Bytes. A push to ten thousand nodes has some 2 MB."""

_MAX_NAME: Final = 64
"""Characters of a type's name."""
_PIECE: Final = 1 << 16
"""Bytes that are looked through at a time."""
_TYPES: Final[dict[str, type[Framed]]] = {kind.__name__: kind for kind in get_args(Framed)}


class PipeError(Exception):
    """What came through the pipe is no frame, or a value does not fit into a frame."""


def encode(value: Framed) -> bytes:
    """``value`` as one frame.

    Raises:
        PipeError: if it is too large, or holds an integer beyond 64 bits, text that is not Unicode or a number or text
            of an app's own class.
    """
    name = type(value).__name__
    try:
        body = packed(value)
    except (ValueError, OverflowError, TypeError) as error:  # a UnicodeEncodeError is a ValueError
        raise PipeError(f"a {name} cannot go through the pipe: {error}") from error
    if len(body) > MAX_FRAME:
        raise PipeError(f"a {name} of {len(body)} bytes is more than a frame holds ({MAX_FRAME})")
    frame = msgpack.packb((name, body))
    assert isinstance(frame, bytes)
    return frame


class FrameReader:
    """Splits a stream of bytes into values."""

    def __init__(self, limit: int = MAX_FRAME) -> None:
        """``limit`` is how many bytes a value may have. Of a longer one, little more than that is held."""
        self.size = 0
        """Bytes of the value that came last."""
        self._unpacker = msgpack.Unpacker(
            max_buffer_size=limit + 2 * _PIECE,
            max_bin_len=limit,
            max_str_len=_MAX_NAME,
            max_array_len=2,
            max_map_len=0,
            max_ext_len=0,
        )

    def feed(self, data: bytes) -> Iterator[Framed]:
        """The values that are complete now, in order.

        Raises:
            PipeError: if a frame is larger than the limit, or malformed.
        """
        try:
            for at in range(0, len(data), _PIECE):
                self._unpacker.feed(data[at : at + _PIECE])
                for frame in self._unpacker:
                    yield self._value(frame)
        except (ValueError, msgpack.UnpackException, NotPacked) as error:
            raise PipeError(f"not a frame: {error}") from error

    def _value(self, frame: object) -> Framed:
        match frame:
            case [str(name), bytes(body)] if name in _TYPES:
                self.size = len(body)
                return unpacked(body, _TYPES[name])
            case [str(name), bytes()]:
                raise PipeError(f"a frame of an unknown type: {name!r}")
            case _:
                raise PipeError("a frame that is no pair of a name and a value")

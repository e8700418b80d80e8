"""Bytes that are almost right: small changes to real ones, each run the same from its seed.

Some changes know how the bytes are written, so that what comes out gets past the outer checks of a decoder: a value
that is decoded, changed in one place and encoded anew is canonical, and wrong inside.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random
from typing import Any, Final

import cbrrr
import msgpack

MAX_SIZE: Final = 1 << 16
"""Bytes; larger inputs try no other path, and cost time."""

_BORDERS: Final = (0, 1, 0x17, 0x18, 0x1B, 0x1F, 0x7F, 0x80, 0x9B, 0xA0, 0xBB, 0xBF, 0xC1, 0xD8, 0xF7, 0xFB, 0xFF)

_PIECES: Final = (
    b"\x9b" + b"\xff" * 8,  # dag-cbor: a list, bytes, text and a map of 2^64 - 1
    b"\x5b" + b"\xff" * 8,
    b"\x7b\x7f" + b"\xff" * 7,
    b"\xbb" + b"\xff" * 8,
    b"\x9f",  # of no given length
    b"\x81" * 200,
    b"\xa1\x61\x61" * 100,
    b"\x80" * 500,
    b"\xd8\x2a\x41\x00",  # a link to nothing
    b"\xd8\x2a\x58\x25\x00\x01\x71\x13\x20" + bytes(32),  # another hash
    b"\xd8\x2a\x58\x25\x00\x01\x70\x12\x20" + bytes(32),  # another codec
    b"\xd8\x2a\x58\x23\x00\x12\x20" + bytes(32),  # a CIDv0
    b"\xc1\x1b" + b"\xff" * 8,  # another tag
    b"\xfb\x7f\xf8" + bytes(6),  # NaN, infinity
    b"\xfb\x7f\xf0" + bytes(6),
    b"\xf9\x7e\x00",
    b"\xdd\xff\xff\xff\xff",  # msgpack: a list, a map, bytes, text and an extension of 2^32 - 1
    b"\xdf\xff\xff\xff\xff",
    b"\xc6\xff\xff\xff\xff",
    b"\xdb\xff\xff\xff\xff",
    b"\xc9\xff\xff\xff\xff\x01",
    b"\x91" * 200,
    b"\xcb\x7f\xf8" + bytes(6),
    b"\xff\xff\xff\x7f",  # varints, in more bytes than they need and without an end
    b"\x80\x80\x00",
    b"\xff" * 12,
    b"\x00",
    b"\xed\xa0\x80",  # a lone surrogate, and what is not UTF-8
    b"\xc0\xaf",
    b"9" * 400,
)

_VALUES: Final[tuple[Any, ...]] = (
    None, True, False, 0, 1, -1, 1.0, -0.0, 5e-324, 1.7e308, 2**31, 2**53, 2**63 - 1, 2**63, 2**64 - 1, -(2**63),
    "", "a", "\x00", "\U0010ffff", "federation", b"", b"\x00" * 32, b"\xff" * 36, b"\x01" * 64, [], {}, [[]],
    [None] * 300, ["a"] * 40, {"a": {}}, {"reply": 1},
)  # fmt: skip


class Mutator:
    """Makes inputs from a corpus."""

    def __init__(self, seed: int, corpus: Sequence[bytes]) -> None:
        self._random = Random(seed)
        self._corpus = corpus

    def next(self) -> bytes:
        """Another input: one of the corpus, changed in one to four places."""
        data = self._random.choice(self._corpus)
        for _ in range(self._random.randint(1, 4)):
            data = self._random.choice(_CHANGES)(self, data)
        return data[:MAX_SIZE]

    # -- whatever they mean ------------------------------------------------------------------------------------------

    def _place(self, data: bytes) -> int:
        return self._random.randint(0, len(data))

    def _piece(self, data: bytes) -> bytes:
        start = self._place(data)
        return data[start : start + self._random.choice((1, 2, 4, 8, 32, 64, 500))]

    def _flip(self, data: bytes) -> bytes:
        at = self._place(data)
        return data[:at] + bytes(byte ^ 1 << self._random.randrange(8) for byte in data[at : at + 1]) + data[at + 1 :]

    def _border(self, data: bytes) -> bytes:
        at = self._place(data)
        return data[:at] + bytes([self._random.choice(_BORDERS)]) + data[at + 1 :]

    def _cut(self, data: bytes) -> bytes:
        at = self._place(data)
        return data[:at] if self._random.random() < 0.3 else data[:at] + data[at + len(self._piece(data)) :]

    def _double(self, data: bytes) -> bytes:
        at = self._place(data)
        return data[:at] + self._piece(data) * self._random.choice((1, 1, 2, 50)) + data[at:]

    def _splice(self, data: bytes) -> bytes:
        other = self._random.choice(self._corpus)
        return data[: self._place(data)] + other[self._place(other) :]

    def _insert(self, data: bytes) -> bytes:
        at = self._place(data)
        over = self._random.choice((0, 1, 9))
        return data[:at] + self._random.choice(_PIECES) + data[at + over :]

    # -- as they are written -----------------------------------------------------------------------------------------

    def _in_cbor(self, data: bytes) -> bytes:
        return self._rewritten(data, cbrrr.decode_dag_cbor, cbrrr.encode_dag_cbor)

    def _in_msgpack(self, data: bytes) -> bytes:
        def read(packed: bytes) -> Any:
            return msgpack.unpackb(packed, strict_map_key=False)

        return self._rewritten(data, read, msgpack.packb)

    def _rewritten(self, data: bytes, read: Callable[[bytes], Any], write: Callable[[Any], bytes | None]) -> bytes:
        """With one value in it replaced, if it can be read. An inner encoding is changed as often as the outer one."""
        try:
            return write(self._changed(read(data))) or data
        except Exception:  # noqa: BLE001  # what these libraries raise is not what is tested here
            return self._flip(data)

    def _changed(self, value: Any) -> Any:
        if isinstance(value, dict) and value and self._random.random() < 0.9:
            return self._changed_map(value)
        if isinstance(value, list) and value and self._random.random() < 0.9:
            return self._changed_list(value)
        if isinstance(value, bytes) and len(value) > 8 and self._random.random() < 0.7:
            return self._random.choice((self._in_cbor, self._in_msgpack, self._flip, self._cut))(value)
        return self._random.choice(_VALUES)

    def _changed_map(self, value: dict[Any, Any]) -> dict[Any, Any]:
        key = self._random.choice(list(value))
        match self._random.randrange(8):
            case 0:
                return {name: each for name, each in value.items() if name != key}
            case 1:
                return {**value, "another": self._random.choice(_VALUES)}
            case _:
                return {**value, key: self._changed(value[key])}

    def _changed_list(self, value: list[Any]) -> list[Any]:
        at = self._random.randrange(len(value))
        match self._random.randrange(8):
            case 0:
                return value[:at] + value[at + 1 :]
            case 1:
                return value[:at] + [value[at]] * self._random.choice((2, 3, 300)) + value[at + 1 :]
            case 2:
                return self._random.sample(value, len(value))
            case _:
                return [*value[:at], self._changed(value[at]), *value[at + 1 :]]


_CHANGES: Final[tuple[Callable[[Mutator, bytes], bytes], ...]] = (
    Mutator._flip, Mutator._border, Mutator._cut, Mutator._double, Mutator._splice, Mutator._insert,
    Mutator._in_cbor, Mutator._in_cbor, Mutator._in_cbor, Mutator._in_msgpack, Mutator._in_msgpack,
)  # fmt: skip

"""What was found out before: values in bounded memory, and marks of bytes that were checked.

A mark tells bytes that were checked once from any others, in a tenth of the time that it takes to hash them again. It
is a Poly1305 tag (RFC 8439, section 2.5) under a key of its own, made for these bytes alone. Other bytes have
that tag with a chance of 8 * ceil(length / 16) / 2^106 at most, unless they are chosen by somebody who has the key
(D. J. Bernstein, *The Poly1305-AES message-authentication code*, theorem 3.3). So a mark stays in the memory and the
scratch files of the process that made it, and proves nothing to others.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Final, Generic, TypeVar

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.poly1305 import Poly1305

V = TypeVar("V")


class Remembered(Generic[V]):
    """Values by key. Threads may share it without a lock: at worst it forgets one early."""

    def __init__(self, most: int) -> None:
        """``most`` is the size of all values together."""
        self._half = most // 2
        self._size = 0
        self._newer: dict[Hashable, V] = {}
        self._older: dict[Hashable, V] = {}

    def get(self, key: Hashable) -> V | None:
        """The value of ``key``; None if it is not remembered."""
        return self._newer.get(key) or self._older.get(key)

    def __len__(self) -> int:
        return len(self._newer) + len(self._older)

    def add(self, key: Hashable, value: V, size: int = 1) -> None:
        """Remember a value. When the newer half is full, forget the older half."""
        if self._size >= self._half:
            self._older, self._newer, self._size = self._newer, {}, 0
        self._newer[key] = value
        self._size += size


_KEY_SIZE: Final = 32


def mark(data: bytes) -> bytes:
    """A new mark of ``data``: its key, then its tag."""
    key = AESGCM.generate_key(8 * _KEY_SIZE)  # 32 random bytes
    return key + Poly1305.generate_tag(key, data)


def has_mark(data: bytes, mark: bytes) -> bool:
    """Whether ``mark`` was made of these very bytes."""
    try:
        Poly1305.verify_tag(mark[:_KEY_SIZE], data, mark[_KEY_SIZE:])
    except InvalidSignature:
        return False
    return True

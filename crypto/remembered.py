"""The newest of what was found out before, in bounded memory."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Generic, TypeVar

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

"""At most so often for each: once in so many seconds. Pure: the caller passes the time."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from typing import Final

REMEMBERED: Final = 1024
"""For how many it is remembered at most; beyond that the oldest are forgotten."""


class AtMostEvery:
    """Allows something once in ``seconds``, for each key apart."""

    __slots__ = ("_at", "_seconds")

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._at: OrderedDict[Hashable, float] = OrderedDict()
        """When it happened last for each, the oldest first; not those for which it may happen again."""

    def take(self, key: Hashable, now: float) -> bool:
        """Whether it may happen for ``key`` now; if so, it counts."""
        while self._at and (now >= next(iter(self._at.values())) + self._seconds or len(self._at) > REMEMBERED):
            self._at.popitem(last=False)
        if key in self._at:
            return False
        self._at[key] = now
        return True

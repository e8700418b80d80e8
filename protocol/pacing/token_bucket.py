"""How often something may happen: a token bucket. Pure: the caller passes the time."""

from __future__ import annotations

import math


class TokenBucket:
    """Allows ``burst`` times at once, and ``rate`` times a second for long."""

    __slots__ = ("_at", "_burst", "_left", "_rate")

    def __init__(self, burst: int, rate: float) -> None:
        self._burst = burst
        self._rate = rate
        self._left = float(burst)
        self._at = -math.inf

    def left(self, now: float) -> float:
        """How many times it may happen now."""
        return min(self._burst, self._left + (now - self._at) * self._rate)

    def use(self, now: float, times: int = 1) -> None:
        """Count ``times`` that it happens now."""
        self._left, self._at = self.left(now) - times, now

    def take(self, now: float, times: int = 1) -> bool:
        """Whether it may happen ``times`` now; if so, they count."""
        if allowed := self.left(now) >= times:
            self.use(now, times)
        return allowed

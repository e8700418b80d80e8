"""When to announce again what nobody has acknowledged: soon, and then more and more seldom."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

FIRST_RETRY: Final = 0.25
"""Seconds until something unacknowledged is announced again. Each time it is twice as long."""

SLOWEST_RETRY: Final = 10.0


@dataclass(slots=True)
class Backoff:
    """When to announce something again."""

    at: float
    delay: float = FIRST_RETRY
    last: float = -math.inf
    """When it was announced."""

    def back_off(self, now: float) -> None:
        """Note that it was announced now."""
        self.at, self.delay, self.last = now + self.delay, min(self.delay * 2, SLOWEST_RETRY), now

    def soon(self, now: float) -> None:
        """Announce it again now, because somebody asks for it; but not right after the last time, however often they
        ask."""
        self.at = min(self.at, max(now, self.last + FIRST_RETRY))

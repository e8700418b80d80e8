"""Announcing again what nobody has acknowledged: soon, and then more and more seldom."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

FIRST_RETRY: Final = 0.25
"""Seconds until something unacknowledged is announced again; each time twice as long."""

SLOWEST_RETRY: Final = 10.0


@dataclass(slots=True)
class Retry:
    """When to announce something again."""

    at: float
    delay: float = FIRST_RETRY
    last: float = -math.inf
    """When it was announced."""

    def back_off(self, now: float) -> None:
        """It was announced now."""
        self.at, self.delay, self.last = now + self.delay, min(self.delay * 2, SLOWEST_RETRY), now

    def soon(self, now: float) -> None:
        """Somebody asks for it: again now, but not at once after the last time, however often somebody asks."""
        self.at = min(self.at, max(now, self.last + FIRST_RETRY))

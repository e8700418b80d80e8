"""Virtual time: what is to happen, in order, and the trace of what did.

The ideas are FoundationDB's and TigerBeetle's (docs.tigerbeetle.com, "Deterministic Simulation Testing"): one thread,
one seed, no clock but this one, so that a run of minutes takes milliseconds and a failing one repeats exactly.
"""

from __future__ import annotations

import hashlib
import heapq
from collections import deque
from collections.abc import Callable

EPOCH = 1_700_000_000.0
"""Seconds since 1970 at which every simulation begins."""

SHOWN = 60
"""Lines of the trace that a failure shows."""

BUSY = 10_000
"""Things that happen at one time before it counts as a busy loop."""


class Timeline:
    """The clock and the agenda. Two things at one time happen in the order they were planned."""

    def __init__(self) -> None:
        self.now = EPOCH
        self._agenda: list[tuple[float, int, Callable[[], None]]] = []
        self._planned = 0
        self._digest = hashlib.sha256()
        self._lines: deque[str] = deque(maxlen=SHOWN)
        self.disturbed = EPOCH
        """When something went wrong last, or was over that had gone wrong. What is lost on the way is not counted."""

    def after(self, delay: float, action: Callable[[], None]) -> None:
        """Plan ``action`` in ``delay`` seconds."""
        self._planned += 1
        heapq.heappush(self._agenda, (self.now + max(0.0, delay), self._planned, action))

    def run(self, until: Callable[[], bool], limit: float) -> bool:
        """Let things happen until ``until()``, at most ``limit`` seconds; whether it came to that."""
        end, at_once = self.now + limit, 0
        while not until():
            if not self._agenda or self._agenda[0][0] > end:
                return False
            at, _, action = heapq.heappop(self._agenda)
            at_once = at_once + 1 if at == self.now else 0
            if at_once > BUSY:
                raise AssertionError("a busy loop: time does not go on")
            self.now = at
            action()
        return True

    def disturb(self, who: str, what: str) -> None:
        """Note that something goes wrong, or is over."""
        self.disturbed = self.now
        self.trace(who, what)

    def trace(self, who: str, what: str) -> None:
        """Note what happened."""
        line = f"{self.now - EPOCH:9.3f} {who:8} {what}"
        self._digest.update(line.encode())
        self._lines.append(line)

    @property
    def digest(self) -> str:
        """Equal for two runs in which the same things happened at the same times."""
        return self._digest.hexdigest()

    @property
    def last_lines(self) -> str:
        """The end of the trace."""
        return "\n".join(self._lines)

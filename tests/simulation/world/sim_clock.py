"""A peer's own clock. No two run alike, and a process that starts may find that its machine's clock was set."""

from __future__ import annotations

from random import Random

from sim_faults import Faults
from sim_time import Timeline


class PeerClock:
    """As `peer.base.clock.Clock`: within one process it never falls, and nobody sets it."""

    def __init__(self, timeline: Timeline, random: Random, faults: Faults) -> None:
        self._timeline = timeline
        self._random = random
        self._jumps = faults.clock_jumps
        self._rate = 1.0
        if faults.clock_drift:
            self._rate += random.uniform(-1.0, 1.0) * faults.clock_drift
        self._ahead = 0.0
        self._since = timeline.now

    def restart(self) -> None:
        """A process starts: it goes by its machine's clock, which may have been set since the last one did."""
        self._ahead, self._since = self.now - self._timeline.now, self._timeline.now
        if self._jumps:
            self._ahead = self._random.uniform(-1.0, 1.0) * self._jumps

    @property
    def now(self) -> float:
        """What the clock shows, in seconds since 1970."""
        passed = self._timeline.now - self._since
        return self._timeline.now + self._ahead + passed * (self._rate - 1.0)

    def until(self, at: float) -> float:
        """In how many seconds it shows ``at``."""
        return (at - self.now) / self._rate

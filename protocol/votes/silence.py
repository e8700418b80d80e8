"""How long a leader may be silent until it is taken to be gone: three beats, and more if its beats come unevenly.

A false alarm costs an election and is otherwise harmless. So the wait is short, and adapts to a busy machine or a slow
network as TCP's does to round trips: by the smoothed lateness of what was heard and its deviation (RFC 6298).
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass, replace
from typing import Final

LEADER_BEAT: Final = 0.5
"""Seconds between two beats of a leader that has heard a standby, whatever the number of members."""

LEAST_SILENCE: Final = 3 * LEADER_BEAT
"""Seconds of silence after which a leader that was heard evenly counts as gone."""

LONGEST_SILENCE: Final = 30.0
"""However unevenly it was heard."""

_LATEST: Final = 10.0
"""Seconds that one beat counts as late at most: an outage that is over is no rhythm."""

_GAIN, _DEVIATION_GAIN, _DEVIATIONS = 1 / 8, 1 / 4, 4


@dataclass(frozen=True, slots=True)
class Silence:
    """What was measured of one leader."""

    least: float = LEAST_SILENCE
    """Seconds; the owner of a standby may choose it."""
    heard: float = -math.inf
    """When the leader was heard last, in seconds of the caller's clock; minus infinity: never, or it has left."""
    late: float = 0.0
    """Smoothed seconds by which it was heard later than a beat after what it said before."""
    deviation: float = 0.0

    def hears(self, now: float, offline: float = 0.0) -> Silence:
        """The leader is heard. ``offline``: the seconds since it was heard last in which nothing could reach us."""
        if self.heard == -math.inf:
            return replace(self, heard=now)
        late = min(max(0.0, now - self.heard - offline - LEADER_BEAT), _LATEST)
        deviation = self.deviation + _DEVIATION_GAIN * (abs(late - self.late) - self.deviation)
        return replace(self, heard=now, late=self.late + _GAIN * (late - self.late), deviation=deviation)

    def left(self) -> Silence:
        """The leader says goodbye: nobody waits for it."""
        return replace(self, heard=-math.inf)

    @property
    def seconds(self) -> float:
        """How long it may be silent."""
        return min(self.least + self.late + _DEVIATIONS * self.deviation, max(self.least, LONGEST_SILENCE))


def jitter(session: bytes, attempt: int) -> float:
    """Seconds that a candidate waits beyond the silence, or before it tries again: none is a twin of another, and each
    attempt that fails makes the next rarer. ``session`` is random and this process's own; without one, as in a process
    that is alone, there is nobody to be apart from."""
    draw = int.from_bytes(hashlib.sha256(b"pollen election" + session + attempt.to_bytes(8, "big")).digest()[:6], "big")
    share = draw / (1 << 48) if session else 0.0
    return LEADER_BEAT * float(1 << min(attempt, 4)) * share

"""When nothing could reach us: our engine was away, or this process stood still, as on a machine that slept.

A member that seemed silent then need not have been. Pure: the clock is handed in.
"""

from __future__ import annotations

from collections import deque
from typing import Final

from protocol.roles.events import EngineAnswered

OFFLINE_AFTER: Final = 5.0
"""Seconds without a sign of our engine after which all of them count as offline; it is looked at every second."""

REMEMBERED: Final = 256
"""Offline times, the newest: no time-out is so long that an older one matters."""

_LOOK_AGAIN: Final = 1.0


class OfflineTimes:
    """The offline times of one process. Before the engine's first sign there are none."""

    def __init__(self) -> None:
        self._now = 0.0
        self._heard: float | None = None
        """The newest sign that the engine answers, and that what it had brought is handed in."""
        self._times: deque[tuple[float, float]] = deque(maxlen=REMEMBERED)

    def comes_to(self, now: float) -> None:
        """It is ``now``, in seconds of any clock that never falls."""
        self._now = now

    def answered(self, event: EngineAnswered, now: float) -> None:
        """Nothing was missed that came before; and if we were offline, it is over."""
        self.comes_to(now)
        if self._heard is not None and self.is_offline:
            self._times.append((self._heard, self._now))
        self._heard = self._now

    @property
    def heard_up_to(self) -> float | None:
        """Up to when all is handed in that could reach us; None if our engine never said."""
        return self._heard

    @property
    def is_offline(self) -> bool:
        """Whether nothing can reach us, as far as we know."""
        return self._heard is not None and self._now > self._heard + OFFLINE_AFTER

    def within(self, since: float) -> float:
        """The offline seconds since then."""
        total = sum(max(0.0, end - max(begin, since)) for begin, end in self._times)
        if self._heard is not None and self.is_offline:
            total += self._now - max(self._heard, since)
        return total

    def ends(self, since: float, seconds: float) -> float:
        """When ``seconds`` end that began at ``since``, the offline seconds not counted; never while we are offline."""
        if not self._times and not self.is_offline:  # as nearly always
            return since + seconds
        at = since + seconds + self.within(since)
        return max(at, self._now + _LOOK_AGAIN) if self.is_offline and at > self._now else at

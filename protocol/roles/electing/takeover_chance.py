"""Tells people if no takeover of a run is possible, once that has lasted, and when one is possible again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from protocol.roles.effects import What
from protocol.roles.outbox import Outbox
from protocol.status.takeover_status import TakeoverLack, TakeoverStatus

LACK_LASTS: Final = 10.0
"""Seconds: members come one after the other."""


class TakeoverChance:
    """What was told last of the run that a role leads, or stands by in."""

    def __init__(self, look: Callable[[float], TakeoverStatus | None], outbox: Outbox) -> None:
        """``look(now)`` is whether a takeover is possible; None: there is no run, or it is closed."""
        self._look = look
        self._outbox = outbox
        self._told: TakeoverLack | None = None
        self._now: tuple[TakeoverLack | None, float] = None, 0.0
        """What lacks now, and since when."""

    def tell(self, now: float) -> None:
        """Tell it, if it is time. Where there is one server alone, that is as its people want it, and is not told."""
        status = self._look(now)
        if status is None:  # nothing is to be told of a run that is over, now or later
            self._told, self._now = None, (None, now)
            return
        lack = None if status.lack is TakeoverLack.OTHER_SERVER else status.lack
        if lack is not self._now[0]:
            self._now = lack, now
        if lack is self._told or now < self._now[1] + (0.0 if lack is None else LACK_LASTS):
            return
        self._told = lack
        if lack is None:
            self._outbox.report(What.TAKEOVER_POSSIBLE)
        else:
            self._outbox.report(What.NO_TAKEOVER, why=status.in_words)

    def moments(self) -> Iterator[float]:
        """When it will be time, if nothing changes."""
        lack, since = self._now
        if lack is not None and lack is not self._told:
            yield since + LACK_LASTS

"""How long the leader of a run has been silent, as a role hears it."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Final

from protocol.blocks.cid import CID
from protocol.roles.offline_times import OfflineTimes
from protocol.votes.candidacy import LIFE
from protocol.votes.silence import LEAST_SILENCE, Silence

COMING: Final = 10.0
"""Seconds that a candidate waits for a leader that it has not heard since it knows of the run: all of a site may have
been started at once, and the leader with it."""


LOOKED_AT: Final = 1.0
"""Seconds between two signs of our engine's, if it answers."""


class LeaderSilence:
    """Of one run at a time. Time in which nothing could reach us counts against nobody."""

    def __init__(self, offline: OfflineTimes, least: float = LEAST_SILENCE) -> None:
        """``least``: seconds of silence that are no reason to stand, however even the leader's beats were."""
        self._offline = offline
        self._least = least
        self._of: tuple[CID, bytes] | None = None
        self._silence = Silence(least)
        self._has_heard = False
        self._waits = math.inf
        """Seconds that it may be silent at most."""

    def follow(self, run: CID, leader: bytes, now: float) -> None:
        """It is about this leader of this run: another one has its own time, from now on."""
        if self._of != (run, leader):
            self._of, self._has_heard = (run, leader), False
            self._silence, self._waits = Silence(self._least).hears(now), math.inf

    def hears(self, now: float) -> None:
        """The leader is heard."""
        if not self._has_heard:
            self._has_heard, self._silence = True, Silence(self._least)
        self._silence, self._waits = self._silence.hears(now, self._offline.within(self._silence.heard)), math.inf

    def waits_for(self, now: float) -> None:
        """Another is about to lead, by our vote: it has as long as a leader that was heard just now, and no longer,
        nor more than half the life of its candidacy, however unevenly the leader before was heard. After that life it
        may have our vote again, and until then others have to have their chance."""
        self._has_heard, self._waits = True, max(self._least, LIFE / 2)
        self._silence = replace(self._silence, heard=now)

    def left(self) -> None:
        """The leader says goodbye."""
        self._has_heard = True
        self._silence = self._silence.left()

    @property
    def ends(self) -> float:
        """Until when the leader counts as heard, for a voter."""
        return self._until(self._silence.seconds)

    @property
    def over(self) -> float | None:
        """From when on a candidate may stand; None if what the leader said may not be handed in yet."""
        seconds = self._silence.seconds
        over, heard = self._until(seconds if self._has_heard else max(seconds, COMING)), self._offline.heard_up_to
        return over if heard is None or heard >= over - LOOKED_AT else None

    def _until(self, seconds: float) -> float:
        heard = self._silence.heard
        return heard if heard == -math.inf else self._offline.ends(heard, min(seconds, self._waits))

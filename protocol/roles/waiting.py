"""What a peer waits for, and when people are told of it: no wait is told before it has lasted."""

from __future__ import annotations

import math
from enum import StrEnum
from typing import Final

TOLD_AFTER: Final = 5.0
"""Seconds that a wait lasts until people are told: most are over before."""


class Awaited(StrEnum):
    """What is not here."""

    SERVER = "server"
    """No server is heard."""
    RUN = "run"
    """A server is heard, and leads none that is open."""
    RECORDS = "records"
    """The run's records were announced, and are not here."""
    ROSTER = "roster"
    """We know a newer manifest than the run has in force, and answer nothing until it has."""
    APP_FILES = "app-files"
    """The app may run here, and its bundle is not here."""
    APP = "app"
    """Its process is not ready."""
    PAST = "past"
    """Others have not said yet what they have of ours, which we may have forgotten; we sign nothing before."""
    WITNESSES = "witnesses"
    """Too few other servers have recomputed what a message sends."""
    CONTENT = "content"
    """A message is for us, and what it holds is not here."""


TOLD_AGAIN: Final = 60.0
"""Seconds for which a wait that was told has to be over until it is told again: one that comes and goes is one."""


class Waiting:
    """One wait at a time: how long it has lasted, and whether it was told."""

    __slots__ = ("_for", "_last", "_since", "_told")

    def __init__(self) -> None:
        self._for: Awaited | None = None
        self._since = 0.0
        self._told = True
        self._last: dict[Awaited, float] = {}
        """When each wait that was told was on last."""

    def now_for(self, awaited: Awaited | None, now: float) -> Awaited | None:
        """``awaited`` is what is waited for now, None if nothing is; returned if it is time to tell it."""
        if awaited is not self._for:
            if self._for in self._last:
                self._last[self._for] = now
            self._for, self._since = awaited, now
            self._told = awaited is None or now < self._last.get(awaited, -math.inf) + TOLD_AGAIN
        if awaited is None or self._told or now < self._since + TOLD_AFTER:
            return None
        self._told, self._last[awaited] = True, now
        return awaited

    def moment(self) -> float | None:
        """When it will be time, if the wait goes on."""
        return None if self._told else self._since + TOLD_AFTER

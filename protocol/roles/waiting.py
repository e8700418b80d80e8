"""What people are told, and how often: no member fills our logs, and no wait is told before it has lasted."""

from __future__ import annotations

import math
from enum import StrEnum
from typing import Final

from protocol.pacing.token_bucket import TokenBucket
from protocol.roles.effects import Report, What

COMPLAINTS: Final = frozenset({What.RUN_REFUSED, What.RUN_LOST, What.REPLY_REFUSED, What.FETCH_FAILED})
"""The reports that a member may bring about as often as it likes."""
COMINGS: Final = frozenset({What.PEER_HERE, What.PEER_AWAY, What.PEER_LEFT})
"""So are these; a member that comes and goes many times a minute is broken, and said to be only so often."""

COMPLAINTS_AT_ONCE: Final = 100
COMPLAINTS_RATE: Final = 1.0
"""How many of them are told for long, a second and member."""
COMINGS_AT_ONCE: Final = 10
COMINGS_RATE: Final = 1 / 60

TOLD_AFTER: Final = 5.0
"""Seconds that a wait lasts until people are told: most are over before."""


class Complaints:
    """Of what a member alone brings about only so much is told."""

    def __init__(self) -> None:
        self._complaints: dict[bytes, TokenBucket] = {}
        self._comings: dict[bytes, TokenBucket] = {}

    def is_told(self, report: Report, speaker: bytes, now: float) -> bool:
        """Whether people are told what this member brought about."""
        if report.what in COMINGS:
            allowance = self._comings.setdefault(speaker, TokenBucket(COMINGS_AT_ONCE, COMINGS_RATE, now))
        elif report.what in COMPLAINTS:
            allowance = self._complaints.setdefault(speaker, TokenBucket(COMPLAINTS_AT_ONCE, COMPLAINTS_RATE, now))
        else:
            return True
        told = allowance.left(now) >= 1
        if told:
            allowance.use(now)
        return told


_STATES: Final = {
    What.PEER_HERE: "part",
    What.PEER_AWAY: "part",
    What.PEER_LEFT: "part",
    What.RUN_REFUSED: "part",
    What.JOINED: "joining",
    What.JOIN_PENDING: "joining",
    What.JOIN_REFUSED: "joining",
    What.ACK_REFUSED: "ack",
}
"""The reports that say how it stands with somebody, who may say so again and again; those with one value are about one
thing: each ends what the others say."""


class Standing:
    """How it stands with each, as it was told last."""

    def __init__(self) -> None:
        self._told: dict[tuple[str, object], tuple[What, object]] = {}

    def is_news(self, report: Report) -> bool:
        """Whether the report says something else of somebody than the last one did; always if it tells of an
        event."""
        if report.what not in _STATES:
            return True
        about = _STATES[report.what], report.fields.get("name")
        says = report.what, report.fields.get("why")
        news = self._told.get(about) != says
        self._told[about] = says
        return news


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

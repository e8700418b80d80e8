"""What people are told, and how often: no member fills our logs, and no wait is told before it has lasted."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from protocol.allowance import Allowance
from protocol.effects import Report, What

COMPLAINTS: Final = frozenset(
    {
        What.PEER_HERE,
        What.PEER_AWAY,
        What.PEER_LEFT,
        What.RUN_REFUSED,
        What.RUN_LOST,
        What.REPLY_REFUSED,
        What.FETCH_FAILED,
    }
)
"""The reports that a member may bring about as often as it likes."""

COMPLAINTS_AT_ONCE: Final = 100
COMPLAINTS_RATE: Final = 1.0
"""How many of them are told for long, a second and member."""

TOLD_AFTER: Final = 5.0
"""Seconds that a wait lasts until people are told: most are over before."""


class Complaints:
    """Of what a member alone brings about only so much is told."""

    def __init__(self) -> None:
        self._allowances: dict[bytes, Allowance] = {}

    def is_told(self, report: Report, speaker: bytes, now: float) -> bool:
        """Whether people are told what this member brought about."""
        if report.what not in COMPLAINTS:
            return True
        allowance = self._allowances.setdefault(speaker, Allowance(COMPLAINTS_AT_ONCE, COMPLAINTS_RATE, now))
        told = allowance.left(now) >= 1
        if told:
            allowance.use(now)
        return told


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
    CONTENT = "content"
    """A message is for us, and what it holds is not here."""


class Waiting:
    """One wait at a time: how long it has lasted, and whether it was told."""

    __slots__ = ("_for", "_since", "_told")

    def __init__(self) -> None:
        self._for: Awaited | None = None
        self._since = 0.0
        self._told = True

    def now_for(self, awaited: Awaited | None, now: float) -> Awaited | None:
        """``awaited`` is what is waited for now, None where nothing is; returned where it is time to tell it."""
        if awaited is not self._for:
            self._for, self._since, self._told = awaited, now, awaited is None
        if self._told or now < self._since + TOLD_AFTER:
            return None
        self._told = True
        return awaited

    def moment(self) -> float | None:
        """When it will be time, if the wait goes on."""
        return None if self._told else self._since + TOLD_AFTER

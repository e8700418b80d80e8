"""Contents that a standby has to have to lead, and needs not to compare: of open messages, and the run's app.

What its own app sends has the same CID, or another one, and the app is here as files. So the app goes on while they
come. A standby that may compute something else compares by the recorded messages, and waits for them
(`protocol.roles.standby.replaying`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial

from protocol.blocks.cid import CID
from protocol.pacing.backoff import Backoff
from protocol.roles.effects import FetchContent, What
from protocol.roles.following.follower_states import FollowerState
from protocol.roles.machine import Machine


class SentContents:
    """Of the run that is followed. What could not be had is asked for again later."""

    def __init__(self, machine: Machine[FollowerState]) -> None:
        self._outbox = machine.outbox
        self._coming: set[CID] = set()
        self._lost: set[CID] = set()
        self._retry = Backoff(0.0)

    def begin(self) -> None:
        """Another run is followed."""
        self._coming, self._lost, self._retry = set(), set(), Backoff(0.0)

    @property
    def lack(self) -> bool:
        """Whether one is not here."""
        return bool(self._coming or self._lost)

    def lacks(self, contents: Iterable[CID]) -> bool:
        """Whether one of these is not here, of those that were to be fetched."""
        return not (self._coming | self._lost).isdisjoint(contents)

    def fetch(self, contents: Iterable[CID]) -> None:
        """Have contents here."""
        for content in sorted(set(contents) - self._coming):
            self._lost.discard(content)
            self._coming.add(content)
            self._outbox.ask(FetchContent, partial(self._here, content), partial(self._not_here, content), content)

    def _here(self, content: CID, now: float) -> None:
        self._coming.discard(content)

    def _not_here(self, content: CID, why: str, now: float) -> None:
        if content in self._coming:
            self._outbox.report(What.FETCH_FAILED, why=why)
            self._coming.discard(content)
            self._lost.add(content)
            self._retry.back_off(now)

    def due(self, needed: Iterable[CID], now: float) -> None:
        """Ask again for what could not be had and is still ``needed``, if it is time."""
        if self._lost and now >= self._retry.at:
            self._lost &= set(needed)
            self.fetch(self._lost)

    def moments(self) -> Iterator[float]:
        """When to ask again."""
        if self._lost:
            yield self._retry.at

"""Other processes with our key: a copy of our home that runs beside it would sign what contradicts us.

A process asks (`Recall`) when it starts, and now and then; any other that has its key answers (`Alive`), and names the
one that asked. What somebody sends again that was said before names another process, and so proves nothing. Of two
processes one goes on: the one that has listened already, or the older if neither has, or both.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from protocol.blocks.cid import CID
from protocol.pacing.at_most_every import AtMostEvery
from protocol.pacing.backoff import Backoff
from protocol.roles.offline_times import OfflineTimes
from protocol.wire.announcements import Alive, Recall, Said

LISTENING: Final = 2.0
"""Seconds that a process listens for others with its key before it signs a record."""

ASK_AGAIN: Final = 30.0
"""Seconds between two questions later: one that was out of reach at first may not stay so."""

ANSWER_AGAIN: Final = 0.2
"""Seconds between two answers to one process: one that sends its question again has us say no more."""


class CopiedHomes:
    """What a process knows of others with its key. ``session`` is its own; empty: it asks nobody."""

    def __init__(self, session: bytes, since: int, offline: OfflineTimes) -> None:
        self._session = session
        self._since = since
        self._offline = offline
        self._asking = Backoff(0.0)
        self._listens_since = 0.0
        self._may_answer = AtMostEvery(ANSWER_AGAIN)
        """Each process."""
        self._may_doubt = AtMostEvery(ASK_AGAIN)
        self._has_met = False
        self.settled = not session
        """Whether it has listened for long enough once: of two processes, the one that has goes on."""
        self.may_sign = not session
        """Whether it has listened since it could be heard."""

    def begin(self, now: float) -> None:
        """The process can be heard from now on."""
        self._listens_since, self._asking, self.may_sign = now, Backoff(now), not self._session

    @property
    def _listens_until(self) -> float:
        return self._offline.ends(self._listens_since, LISTENING)

    def met(self, now: float) -> None:
        """Somebody is heard whose records we sign beside, or in whose run: through the first of them a process may be
        reached that could not be before, as one is whose engine knew nobody's but theirs."""
        if not self._has_met:
            self._has_met = True
            self.begin(now)

    def due(self, now: float, *, urgent: bool = False) -> bool:
        """Whether to ask now; also sees whether it has been listened for long enough. ``urgent``: more is asked than
        for copies, and not answered yet."""
        if not self._session:
            return False
        self.may_sign = now >= self._listens_until
        self.settled = self.settled or self.may_sign
        if now < self._asking.at:
            return False
        if self.may_sign and not urgent:
            self._asking.at = now + ASK_AGAIN
        else:
            self._asking.back_off(now)
        return True

    def moments(self) -> Iterable[float]:
        """When `due` may be true, or the listening be over."""
        if self._session:
            yield self._asking.at
            if not self.may_sign:
                yield self._listens_until

    def question(self, run: CID | None = None) -> Recall:
        """Whether there is another process; and what is known of ``run``, if that is asked."""
        return Recall(self._session, run)

    def answer(self, said: Said, now: float) -> Alive | None:
        """The answer to what was said with our key, if another process asks."""
        if not isinstance(said, Recall) or said.session == self._session or not self._session:
            return None
        if not self._may_answer.take(said.session, now):
            return None
        return Alive(said.session, self._session, self._since, self.settled)

    def is_ours(self, counter: int, next_counter: int) -> bool:
        """Whether this process has announced something under ``counter``."""
        return self._since <= counter < next_counter

    def doubt(self, counter: int, next_counter: int, now: float) -> None:
        """Something was said with our key, under ``counter``: ask soon, if it was not this process that said it."""
        if not self.is_ours(counter, next_counter) and self._may_doubt.take(None, now):
            self._asking.at = min(self._asking.at, now)

    def yields_to(self, said: Said) -> bool:
        """Whether another process answered us that goes on in our place."""
        if not isinstance(said, Alive) or said.to != self._session or said.session == self._session:
            return False
        if said.settled != self.settled:
            return said.settled
        return (said.since, said.session) < (self._since, self._session)

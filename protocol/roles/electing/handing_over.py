"""A leader that hands its run over: it writes nothing more, and lets another server that it names be elected at once.

Raft's leadership transfer (Ongaro's dissertation, 3.10). Whoever hears the leader say so need not hear it any more to
vote for another, for as long as `HANDOVER_LASTS`; whoever misses it votes once the leader counts as silent. If nobody
is elected, the leader goes on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final

from protocol.pacing.backoff import Backoff
from protocol.roles.effects import What
from protocol.roles.electing.voted_run import VotedRun
from protocol.roles.machine import Machine
from protocol.wire.announcements import HandsOver

HANDOVER_LASTS: Final = 5.0
"""Seconds for which a leader's word that it hands over holds, from when it is heard."""


class HandingOver:
    """Of the run that this role leads, to one server at a time."""

    def __init__(self, run: Callable[[], VotedRun | None], may_say: Callable[[], bool], machine: Machine[Any]) -> None:
        """``may_say()`` is whether no record is on its way to disk: the head that is said is the last."""
        self._run = run
        self._may_say = may_say
        self._newest, self._announcer, self._outbox = machine.newest, machine.announcer, machine.outbox
        self._to = b""
        """Whom the run is handed to; empty: nobody."""
        self._until: float | None = None
        """When we go on ourselves; None: it is not said yet."""
        self._retry = Backoff(0.0)

    @property
    def is_under_way(self) -> bool:
        """Whether nothing more is written, and any voter may vote for another."""
        return bool(self._to)

    def begin(self, to: bytes, now: float) -> None:
        """Hand the run over as soon as no record is on its way."""
        self._to, self._until, self._retry = to, None, Backoff(now)
        self.due(now)

    def due(self, now: float) -> None:
        """Say it, say it again, or go on ourselves."""
        run = self._run()
        if not self._to:
            return
        if run is None or run.is_closed:  # we had forgotten its close: nothing is left to hand over
            self._to, self._until = b"", None
            return
        if self._until is None:
            if not self._may_say():
                return
            self._until = now + HANDOVER_LASTS
        elif now >= self._until:
            name = self._newest.manifest.name_of(self._to)
            self._to, self._until = b"", None
            self._outbox.report(What.NOT_HANDED_OVER, run=str(run.position.run), name=name)
            return
        if now >= self._retry.at:
            self._retry.back_off(now)
            self._announcer.announce(HandsOver(run.position, self._to))

    def moments(self) -> Iterator[float]:
        """When something is due."""
        if self._until is not None:
            yield min(self._until, self._retry.at)

"""Which members a role hears that follows runs, and how they hear of it."""

from __future__ import annotations

from collections.abc import Iterator

from protocol.pacing.backoff import Backoff
from protocol.roles.effects import What
from protocol.roles.leader.presence import silent_for
from protocol.roles.machine import Machine
from protocol.roles.state_table import S
from protocol.status.role_status import Doing
from protocol.wire.announcements import Beat, Bye, Hello, Said


class MembersHere:
    """The members that are here, of those that the role listens to: servers, or all. It says hello until it hears one,
    and beats."""

    def __init__(self, machine: Machine[S]) -> None:
        self._announcer, self._copies, self._offline = machine.announcer, machine.copies, machine.offline
        self._newest, self._outbox = machine.newest, machine.outbox
        self._hello = Backoff(0.0)
        self._know_us = False
        """Whether a member has spoken since we started: then it hears our beats."""
        self.here: dict[bytes, float] = {}
        """When each member that is here was heard last."""
        self._gone: dict[bytes, tuple[Doing, float]] = {}
        """Of those that were here: how they went, and when they were heard last."""

    def doing(self, member: bytes) -> tuple[Doing, float | None]:
        """Whether a member is here, or how it went, and when it was heard last."""
        if (heard := self.here.get(member)) is not None:
            return Doing.HERE, heard
        return self._gone.get(member, (Doing.UNHEARD, None))

    def heard(self, member: bytes, said: Said, now: float) -> None:
        """Note that a member is here, or that it says goodbye."""
        if isinstance(said, Bye):
            self._is_gone(member, Doing.LEFT)
            return
        self._copies.met(now)
        if member not in self.here:
            self._outbox.report(What.PEER_HERE, name=self._newest.manifest.name_of(member))
        self.here[member] = now

    def may_have_missed_us(self, said: Hello | Beat) -> bool:
        """Whether the member that says this may not have heard what we announced before."""
        is_new, self._know_us = not self._know_us, True
        return is_new or isinstance(said, Hello)

    def due(self, now: float) -> None:
        """Say hello or beat, if it is time, and count no more those that have been silent for too long."""
        if not self._know_us and now >= self._hello.at:
            self._hello.back_off(now)
            self._announcer.say(Hello, now)
        if now >= self._announcer.next_beat:
            self._announcer.say(Beat, now)
        for member in [member for member, at in self.here.items() if now >= self.silent_until(at)]:
            self._is_gone(member, Doing.AWAY)

    def silent_until(self, heard: float) -> float:
        """Until when a member that was heard then may be silent."""
        return self._offline.ends(heard, silent_for(len(self._newest.manifest.members)))

    def _is_gone(self, member: bytes, how: Doing) -> None:
        if (heard := self.here.pop(member, None)) is not None:
            self._gone[member] = how, heard
            name = self._newest.manifest.name_of(member)
            what = What.PEER_LEFT if how is Doing.LEFT else What.PEER_AWAY
            self._outbox.report(what, name=name, answer_within=None)

    def moments(self) -> Iterator[float]:
        """When something is to be said, or a member has been silent for too long."""
        yield self._announcer.next_beat
        if not self._know_us:
            yield self._hello.at
        if self.here:
            yield self.silent_until(min(self.here.values()))

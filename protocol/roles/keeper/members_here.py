"""Which members a keeper hears, and how they hear of it."""

from __future__ import annotations

from collections.abc import Iterator

from protocol.pacing.backoff import Backoff
from protocol.roles.effects import What
from protocol.roles.keeper.keeper_states import KeeperState
from protocol.roles.leader.presence import silent_for
from protocol.roles.machine import Machine
from protocol.wire.announcements import Beat, Bye, Hello, Said


class MembersHere:
    """The members that are here. A keeper says hello until it hears one, and beats."""

    def __init__(self, machine: Machine[KeeperState]) -> None:
        self._machine = machine
        self._hello = Backoff(0.0)
        self._is_heard = False
        """Whether a member has spoken since we started: then it hears our beats."""
        self.here: dict[bytes, float] = {}
        """When each member that is here was heard last."""

    def heard(self, member: bytes, said: Said, now: float) -> None:
        """Note that a member is here, or that it says goodbye."""
        if isinstance(said, Bye):
            self._is_away(member)
            return
        self._machine.copies.met(now)
        self._is_heard = True
        if member not in self.here:
            self._machine.outbox.report(What.PEER_HERE, name=self._machine.newest.manifest.name_of(member))
        self.here[member] = now

    def due(self, now: float) -> None:
        """Say hello or beat, if it is time, and count no more those that have been silent for too long."""
        announcer = self._machine.announcer
        if not self._is_heard and now >= self._hello.at:
            self._hello.back_off(now)
            announcer.say(Hello, now)
        if now >= announcer.next_beat:
            announcer.say(Beat, now)
        for member in [member for member, at in self.here.items() if now >= self._silent_until(at)]:
            self._is_away(member)

    def _silent_until(self, heard: float) -> float:
        return self._machine.offline.ends(heard, silent_for(len(self._machine.newest.manifest.members)))

    def _is_away(self, member: bytes) -> None:
        if self.here.pop(member, None) is not None:
            name = self._machine.newest.manifest.name_of(member)
            self._machine.outbox.report(What.PEER_AWAY, name=name, answer_within=None)

    def moments(self) -> Iterator[float]:
        """When something is to be said, or a member has been silent for too long."""
        yield self._machine.announcer.next_beat
        if not self._is_heard:
            yield self._hello.at
        if self.here:
            yield self._silent_until(min(self.here.values()))

"""The servers of the federation: which of them a client hears, and how they hear of it."""

from __future__ import annotations

from collections.abc import Iterator

from protocol.pacing.backoff import Backoff
from protocol.roles.effects import What
from protocol.roles.following.follower_states import FollowerState
from protocol.roles.leader.presence import silent_for
from protocol.roles.machine import Machine
from protocol.wire.announcements import Beat, Bye, Head, Hello, PeerState, Recall, Said


def is_a_leaders(said: Said) -> bool:
    """Whether a server says this as one that leads, or may begin to. One that stands by says how far it has verified a
    run of another's, as a client does."""
    match said:
        case Hello(state=state) | Beat(state=state):
            return state is PeerState.LEADING
        case Head() | Recall() | Bye():
            return True
    return False


class Servers:
    """The servers that are here. A client says hello until it hears one, and beats."""

    def __init__(self, machine: Machine[FollowerState]) -> None:
        self._machine = machine
        self._hello = Backoff(0.0)
        self._know_us = False
        """Whether a server has spoken since we started: then it hears our beats."""
        self.here: dict[bytes, float] = {}
        """When each server that is here was heard last."""

    def heard(self, server: bytes, said: Said, now: float) -> None:
        """Note that a server is here, or that it says goodbye."""
        if isinstance(said, Bye):
            self._is_away(server)
            return
        self._machine.copies.met(now)
        if server not in self.here:
            self._machine.outbox.report(What.PEER_HERE, name=self._machine.newest.manifest.name_of(server))
        self.here[server] = now

    def may_have_missed_us(self, said: Hello | Beat) -> bool:
        """Whether the server that says this may not have heard what we announced before."""
        is_new, self._know_us = not self._know_us, True
        return is_new or isinstance(said, Hello)

    def due(self, now: float) -> None:
        """Say hello or beat, if it is time, and count no more the servers that have been silent for too long."""
        announcer = self._machine.announcer
        if not self._know_us and now >= self._hello.at:
            self._hello.back_off(now)
            announcer.say(Hello, now)
        if now >= announcer.next_beat:
            announcer.say(Beat, now)
        for server in [server for server, at in self.here.items() if now >= self.silent_until(at)]:
            self._is_away(server)

    def silent_until(self, heard: float) -> float:
        """Until when a server that was heard then may be silent."""
        return self._machine.offline.ends(heard, silent_for(len(self._machine.newest.manifest.members)))

    def _is_away(self, server: bytes) -> None:
        if self.here.pop(server, None) is not None:
            name = self._machine.newest.manifest.name_of(server)
            self._machine.outbox.report(What.PEER_AWAY, name=name, answer_within=None)

    def moments(self) -> Iterator[float]:
        """When something is to be said, or a server has been silent for too long."""
        yield self._machine.announcer.next_beat
        if not self._know_us:
            yield self._hello.at
        if self.here:
            yield self.silent_until(min(self.here.values()))

"""What leaders say to those that follow: that they are here, and how far they are with their runs."""

from __future__ import annotations

from collections.abc import Callable

from protocol.blocks.cid import CID
from protocol.records.bodies import Member, Role
from protocol.roles.equivocations import why_distrusted
from protocol.roles.following.followed_run import FollowedRun
from protocol.roles.following.follower_states import FollowerState
from protocol.roles.following.members_here import MembersHere
from protocol.roles.following.taking_part import TakingPart
from protocol.roles.machine import Machine
from protocol.wire.announcements import Announcement, Beat, Bye, Head, Hello, PeerState, Position, Recall, Said


class HeardLeaders:
    """Goes on with the run followed, turns to another, or leaves it, by what leaders say and what they have signed."""

    begins: Callable[[], None]
    """Called when another run is followed. The role sets it."""
    leaves: Callable[[], None]
    """Called when the run followed is left, because its leader is distrusted. The role sets it."""

    def __init__(
        self, part: TakingPart, servers: MembersHere, followed: FollowedRun, machine: Machine[FollowerState]
    ) -> None:
        self._part = part
        self._servers = servers
        self._followed = followed
        self._announcer, self._equivocations, self._newest = machine.announcer, machine.equivocations, machine.newest

    def author_of(self, said: Announcement) -> Member | None:
        """The server that says this as one that leads, or may begin to; None if nobody does. One that stands by says
        how far it has verified a run of another's, as a client does."""
        member = self._newest.manifest.members.get(said.by)
        return member if member is not None and Role.SERVER in member.roles and _is_a_leaders(said.body) else None

    def heard(self, server: Member, said: Announcement, now: float) -> bool:
        """Take what a leader says. Returns whether it may have missed what we announced before."""
        if not isinstance(said.body, Recall):  # each server says it now and then, though it leads nothing
            self._servers.heard(server.id, said.body, now)
        may_have_missed_us = False
        match said.body:
            case Bye():
                self._followed.left(server.id)
            case Hello() | Beat() as body:
                self._heard_position(server, said, body.position, now)
                may_have_missed_us = self._servers.may_have_missed_us(body)
            case Head(position):
                self._heard_position(server, said, position, now)
            case Recall() as asked:
                self._followed.answer(server.id, asked, now)
            case _:
                pass
        if may_have_missed_us:
            self._announcer.beat_soon(now)
            self._equivocations.tell_newcomer(now)
        return may_have_missed_us

    def _heard_position(self, server: Member, said: Announcement, position: Position | None, now: float) -> None:
        """A server says how far it is with the run that it leads."""
        if position is None:
            return
        if (proof := self._equivocations.distrust.proof_against(server)) is not None:
            self.distrusts(server, proof, now)
        elif self._followed.heard(said, position, now):
            self._part.begin()
            self.begins()

    def distrusts(self, member: Member, proof: CID, now: float) -> None:
        """Take no part any more in a run of a server that equivocated, nor in one that it begins."""
        run, why = self._followed.run, why_distrusted(self._newest.manifest.called(member.id), proof)
        is_ours = run is None or run.leader == member.id
        if Role.SERVER in member.roles and is_ours and self._part.note != why:
            self._followed.run = None
            self.leaves()
            self._part.decline(None if run is None else run.run, why, now)


def _is_a_leaders(said: Said) -> bool:
    match said:
        case Hello(state=state) | Beat(state=state):
            return state is PeerState.LEADING
        case Head() | Recall() | Bye():
            return True
    return False

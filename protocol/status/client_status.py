"""The status of a client, from its parts."""

from __future__ import annotations

from dataclasses import replace

from protocol.records.bodies import Role
from protocol.roles.client.answering import Answering
from protocol.roles.client.forgotten_replies import ForgottenReplies
from protocol.roles.client.owed_replies import OwedReplies
from protocol.roles.following.app_approval import AppApproval
from protocol.roles.following.followed_run import FollowedRun
from protocol.roles.following.follower_states import FollowerState
from protocol.roles.following.heard_witnesses import HeardWitnesses
from protocol.roles.following.members_here import MembersHere
from protocol.roles.following.taking_part import TakingPart
from protocol.roles.following.voting import Voting
from protocol.roles.machine import Machine
from protocol.roles.waiting import Awaited
from protocol.status.follower_status import FollowerStatus
from protocol.status.role_status import Doing, RoleStatus, Work


class ClientStatus:
    """Reads the status of a client, and changes nothing."""

    def __init__(
        self,
        part: TakingPart,
        servers: MembersHere,
        voting: Voting,
        followed: FollowedRun,
        forgotten: ForgottenReplies,
        app: AppApproval,
        replies: OwedReplies,
        witnesses: HeardWitnesses,
        answering: Answering,
        machine: Machine[FollowerState],
    ) -> None:
        self._follower = FollowerStatus(part, self._doing, followed, app, machine)
        self._part = part
        self._servers = servers
        self._voting = voting
        self._followed = followed
        self._forgotten = forgotten
        self._app = app
        self._replies = replies
        self._witnesses = witnesses
        self._answering = answering

    def at(self, now: float) -> RoleStatus:
        """The status ``now``, in seconds since 1970."""
        work, awaited = self._answering.in_hand, self.awaited()
        whom = self.witnesses() if awaited is Awaited.WITNESSES else ()
        return replace(
            self._follower.of(Role.CLIENT, awaited, now, self._answering.round, whom),
            work=None if work is None else Work(work.message.type, work.since),
            answers=self._answering.answers,
        )

    def _doing(self, server: bytes, _now: float) -> tuple[Doing, float | None]:
        """One that led and is still heard now and then, though it leads no more, has not gone: it stands by."""
        doing, last = self._servers.doing(server)
        stands_by = not doing.is_here and last is not None and self._voting.heard_since(server, last)
        return (Doing.UNHEARD, None) if stands_by else (doing, last)

    def awaited(self) -> Awaited | None:
        """What is not here for us to take part in a run, or to answer the message in hand; nothing if all is, or if why
        we take no part was said."""
        if (lacks := self._lacks() or self._answering.awaited) is not None:
            return lacks
        run, owed = self._followed.run, self._replies.owed.values()
        waits = run is not None and self._answering.in_hand is None and any(self._witnesses.awaited(run, owed))
        return Awaited.WITNESSES if waits else None

    def witnesses(self) -> tuple[str, ...]:
        """The servers that are to recompute what a message for us sends, and have not said so."""
        run = self._followed.run
        return () if run is None else tuple(self._witnesses.silent(run, self._replies.owed.values()))

    def _lacks(self) -> Awaited | None:
        run = self._followed.run
        if self._part.note:
            return None
        if not self._servers.here:
            return Awaited.SERVER
        if run is None or run.chain.closed:
            return Awaited.RUN
        if not run.caught_up:
            return Awaited.RECORDS
        if run.is_behind:
            return Awaited.ROSTER
        return self._app.awaited if self._forgotten.are_known else Awaited.PAST

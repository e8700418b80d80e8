"""The status of a standby, from its parts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from protocol.records.bodies import Role
from protocol.roles.following.app_approval import AppApproval
from protocol.roles.following.followed_run import FollowedRun
from protocol.roles.following.follower_states import FollowerState
from protocol.roles.following.members_here import MembersHere
from protocol.roles.following.taking_part import TakingPart
from protocol.roles.following.voting import Voting
from protocol.roles.machine import Machine
from protocol.roles.standby.forgotten_acks import ForgottenAcks
from protocol.roles.standby.replaying import Replaying
from protocol.roles.waiting import Awaited
from protocol.status.follower_status import FollowerStatus
from protocol.status.role_status import Doing, RoleStatus
from protocol.status.takeover_status import TakeoverStatus


class StandbyStatus:
    """Reads the status of a standby, and changes nothing."""

    def __init__(
        self,
        part: TakingPart,
        servers: MembersHere,
        voting: Voting,
        followed: FollowedRun,
        forgotten: ForgottenAcks,
        app: AppApproval,
        replaying: Replaying,
        takeover: Callable[[float], TakeoverStatus | None],
        machine: Machine[FollowerState],
    ) -> None:
        """``takeover(now)`` is whether it could take the run over that it follows."""
        self._takeover = takeover
        self._follower = FollowerStatus(part, self._doing, followed, app, machine)
        self._part = part
        self._servers = servers
        self._voting = voting
        self._followed = followed
        self._forgotten = forgotten
        self._app = app
        self._replaying = replaying
        self._machine = machine

    def at(self, now: float) -> RoleStatus:
        """The status ``now``, in seconds since 1970."""
        status = self._follower.of(Role.SERVER, self.awaited(), now)
        return replace(status, recomputed=self._replaying.told, takeover=self._takeover(now))

    def _doing(self, server: bytes, now: float) -> tuple[Doing, float | None]:
        """Of one that stands by too, standbys hear no more than that it is here: it leads nothing."""
        doing, last = self._servers.doing(server)
        heard = self._voting.heard(server, now)
        return (doing, last) if doing.is_here or heard is None else (Doing.HERE, heard)

    def awaited(self) -> Awaited | None:
        """What is not here for us to replay a run; nothing if we do, or if why we do not was said."""
        run = self._followed.run
        if self._part.note:
            return None
        if run is None or (run.chain.closed and self._machine.state is FollowerState.LISTENING):
            return Awaited.RUN if self._servers.here else Awaited.SERVER
        if not run.caught_up:
            return Awaited.RECORDS
        if (lacking := self._app.awaited) is not None:
            return lacking
        if self._replaying.lacks_content:
            return Awaited.CONTENT
        return None if self._forgotten.are_known(run) else Awaited.PAST

"""The status of a standby, from its parts."""

from __future__ import annotations

from typing import Final

from protocol.federation.manifest import Manifest
from protocol.records.bodies import Member, Role
from protocol.roles.following.app_approval import AppApproval
from protocol.roles.following.followed_run import FollowedRun
from protocol.roles.following.follower_states import FollowerState
from protocol.roles.following.servers import Servers
from protocol.roles.following.taking_part import TakingPart
from protocol.roles.machine import Machine
from protocol.roles.standby.forgotten_acks import ForgottenAcks
from protocol.roles.standby.replaying import Replaying
from protocol.roles.waiting import Awaited
from protocol.status.role_status import (
    Doing,
    Lack,
    MemberStatus,
    RoleStatus,
    RunStatus,
    Wait,
    most_urgent,
    rounds_of,
)

_LACKS: Final = {
    Awaited.SERVER: Lack.SERVER,
    Awaited.RUN: Lack.RUN,
    Awaited.RECORDS: Lack.RECORDS,
    Awaited.APP_FILES: Lack.APP_FILES,
    Awaited.APP: Lack.APP,
    Awaited.PAST: Lack.PAST,
    Awaited.CONTENT: Lack.CONTENT,
}


class StandbyStatus:
    """Reads the status of a standby, and changes nothing."""

    def __init__(
        self,
        part: TakingPart,
        servers: Servers,
        followed: FollowedRun,
        forgotten: ForgottenAcks,
        app: AppApproval,
        replaying: Replaying,
        machine: Machine[FollowerState],
    ) -> None:
        self._part = part
        self._servers = servers
        self._followed = followed
        self._forgotten = forgotten
        self._app = app
        self._replaying = replaying
        self._machine = machine

    def at(self, now: float) -> RoleStatus:
        """The status ``now``, in seconds since 1970."""
        manifest, ours = self._machine.newest.manifest, self._machine.newest.author.member
        members = [each for each in manifest.members.values() if Role.SERVER in each.roles and each.id != ours]
        servers = [self._server(server, manifest) for server in members]
        return RoleStatus(
            role=Role.SERVER,
            state=self._machine.state.name.lower(),
            run=self._run(),
            members=most_urgent(servers),
            waits=self._waits(),
            recomputed=self._replaying.told,
            refuses=self._part.note,
            here=sum(each.doing.is_here for each in servers),
            of=len(servers),
            offline=self._machine.offline.is_offline,
            manifest_version=manifest.version,
        )

    def lacks(self) -> Awaited | None:
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

    def _run(self) -> RunStatus | None:
        run = self._followed.run
        if run is None or run.chain.head is None:
            return None
        private = self._app.wanted
        return RunStatus(
            run=run.run,
            head=run.chain.head,
            height=run.chain.height,
            closed=run.chain.closed,
            app="" if private is None else private.name,
            round=None,
            rounds=None if private is None else rounds_of(private.config),
        )

    def _server(self, server: Member, manifest: Manifest) -> MemberStatus:
        heard = self._servers.here.get(server.id)
        doing = Doing.AWAY if heard is None else Doing.HERE
        if self._machine.equivocations.distrust.proof_against(server) is not None:
            doing = Doing.DISTRUSTED
        return MemberStatus(manifest.name_of(server.id), Role.SERVER, doing, heard)

    def _waits(self) -> tuple[Wait, ...]:
        if self._app.is_unapproved:
            return (Wait(Lack.APPROVAL),)
        lacking = self.lacks()
        return () if lacking is None else (Wait(_LACKS[lacking]),)

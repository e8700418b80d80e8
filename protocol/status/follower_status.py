"""What people see of a role that follows a run, whatever it does with it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from protocol.federation.manifest import Manifest
from protocol.records.bodies import Member, Role
from protocol.roles.following.app_approval import AppApproval
from protocol.roles.following.followed_run import FollowedRun
from protocol.roles.following.follower_states import FollowerState
from protocol.roles.following.taking_part import TakingPart
from protocol.roles.machine import Machine
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
    Awaited.ROSTER: Lack.ROSTER,
    Awaited.APP_FILES: Lack.APP_FILES,
    Awaited.APP: Lack.APP,
    Awaited.PAST: Lack.PAST,
    Awaited.WITNESSES: Lack.WITNESSES,
    Awaited.CONTENT: Lack.CONTENT,
}


class FollowerStatus:
    """Reads what a client and a standby have alike, and changes nothing."""

    def __init__(
        self,
        part: TakingPart,
        doing: Callable[[bytes, float], tuple[Doing, float | None]],
        followed: FollowedRun,
        app: AppApproval,
        machine: Machine[FollowerState],
    ) -> None:
        """``doing(server, now)`` is whether another server is here, or how it went, and when it was heard last."""
        self._part = part
        self._doing = doing
        self._followed = followed
        self._app = app
        self._machine = machine

    def of(
        self,
        role: Role,
        awaited: Awaited | None,
        now: float,
        round_: int | None = None,
        whom: tuple[str, ...] = (),
    ) -> RoleStatus:
        """The status of a peer in this role that waits for ``awaited``, and for ``whom`` if that is known, with
        ``round_`` as the newest one it knows."""
        manifest, ours = self._machine.newest.manifest, self._machine.newest.author.member
        members = [each for each in manifest.members.values() if Role.SERVER in each.roles and each.id != ours]
        servers = [self._server(server, manifest, now) for server in members]
        return RoleStatus(
            role=role,
            state=self._machine.state.name.lower(),
            run=self._run(round_),
            members=most_urgent(servers),
            waits=self._waits(awaited, whom),
            refuses=self._part.note,
            here=sum(each.doing.is_here for each in servers),
            of=len(servers),
            offline=self._machine.offline.is_offline,
            manifest_version=manifest.version,
        )

    def _run(self, round_: int | None) -> RunStatus | None:
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
            round=round_,
            rounds=None if private is None else rounds_of(private.config),
            keep=self._app.plan.text_if_any,
            term=run.chain.term,
            leader=run.chain.manifest.name_of(run.chain.by),
        )

    def _server(self, server: Member, manifest: Manifest, now: float) -> MemberStatus:
        doing, heard = self._doing(server.id, now)
        if self._machine.equivocations.distrust.proof_against(server) is not None:
            doing = Doing.DISTRUSTED
        return MemberStatus(manifest.name_of(server.id), Role.SERVER, doing, heard)

    def _waits(self, awaited: Awaited | None, whom: tuple[str, ...]) -> tuple[Wait, ...]:
        if self._app.is_unapproved:
            return (Wait(Lack.APPROVAL),)
        if self._machine.no_room:
            return (Wait(Lack.ROOM),)
        return () if awaited is None else (Wait(_LACKS[awaited], whom),)

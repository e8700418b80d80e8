"""The status of a keeper, from its parts."""

from __future__ import annotations

from dataclasses import replace

from protocol.federation.manifest import Manifest
from protocol.records.bodies import Member, Role
from protocol.roles.following.members_here import MembersHere
from protocol.roles.keeper.keeper_states import KeeperState
from protocol.roles.keeper.kept_contents import KeptContents
from protocol.roles.keeper.kept_runs import KeptRuns
from protocol.roles.machine import Machine
from protocol.status.role_status import Doing, Kept, Lack, MemberStatus, RoleStatus, RunStatus, Wait, most_urgent


class KeeperStatus:
    """Reads the status of a keeper, and changes nothing."""

    def __init__(
        self, members: MembersHere, runs: KeptRuns, contents: KeptContents, machine: Machine[KeeperState]
    ) -> None:
        self._members = members
        self._runs = runs
        self._contents = contents
        self._machine = machine

    def at(self, now: float) -> RoleStatus:
        """The status ``now``, in seconds since 1970."""
        manifest = self._machine.newest.manifest
        others = [self._member(each, manifest) for each in manifest.members.values() if _takes_part(each)]
        return RoleStatus(
            role=Role.KEEPER,
            state=self._machine.state.name.lower(),
            run=self._run(),
            members=most_urgent(others),
            waits=(Wait(Lack.ROOM),) if self._machine.no_room else (),
            here=sum(each.doing.is_here for each in others),
            of=len(others),
            keeps=self._kept(),
            offline=self._machine.offline.is_offline,
            manifest_version=manifest.version,
        )

    def _kept(self) -> Kept:
        chains = [kept.chain for kept in self._runs.followed.values() if kept.chain.head is not None]
        closed = sum(chain.closed for chain in chains)
        return Kept(len(chains) - closed, closed, len(self._runs.whole), self._contents.lacking)

    def _run(self) -> RunStatus | None:
        """The run that was spoken of last."""
        begun = [kept for kept in self._runs.followed.values() if kept.chain.head is not None]
        kept = max(begun, key=lambda kept: kept.spoken, default=None)
        if kept is not None:
            chain = kept.chain
            assert chain.head is not None
            leader = chain.manifest.name_of(chain.by)
            told = RunStatus(kept.run, chain.head, chain.height, chain.closed, "", None, None)
            return replace(told, term=chain.term, leader=leader)
        last = next(reversed(self._runs.whole.values()), None)
        return None if last is None else RunStatus(last.run, last.head, last.height, True, "", None, None)

    def _member(self, member: Member, manifest: Manifest) -> MemberStatus:
        doing, heard = self._members.doing(member.id)
        if self._machine.equivocations.distrust.proof_against(member) is not None:
            doing = Doing.DISTRUSTED
        return MemberStatus(manifest.name_of(member.id), member.roles[0], doing, heard)


def _takes_part(member: Member) -> bool:
    """Whether the member runs a peer with which a keeper has to do."""
    return Role.SERVER in member.roles or Role.CLIENT in member.roles

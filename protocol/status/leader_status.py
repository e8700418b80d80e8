"""The status of a leader, from its parts."""

from __future__ import annotations

from collections.abc import Iterable

from protocol.federation.manifest import Manifest, node_id
from protocol.records.bodies import Member, Role
from protocol.roles.collecting.awaited_replies import AwaitedReplies
from protocol.roles.collecting.heard_replies import HeardReplies
from protocol.roles.electing.leadership import Leadership
from protocol.roles.leader.app_process import AppProcess
from protocol.roles.leader.app_requests import AppRequests
from protocol.roles.leader.clients_here import ClientsHere
from protocol.roles.leader.enough_clients import EnoughClients
from protocol.roles.leader.forgotten_records import ForgottenRecords
from protocol.roles.leader.leader_states import LeaderState
from protocol.roles.leader.record_writer import RecordWriter
from protocol.roles.leader.run_plan import RunPlan
from protocol.roles.machine import Machine
from protocol.status.measures import mean_of
from protocol.status.role_status import (
    Doing,
    Lack,
    MemberStatus,
    RoleStatus,
    RunStatus,
    Wait,
    WitnessStatus,
    most_urgent,
    rounds_of,
)
from protocol.wire.announcements import PeerState
from protocol.witnesses.awaited_witnesses import AwaitedWitnesses


class LeaderStatus:
    """Reads the status of a leader, and changes nothing."""

    def __init__(
        self,
        plan: RunPlan,
        clients: ClientsHere,
        awaited: AwaitedReplies,
        witnesses: AwaitedWitnesses,
        replies: HeardReplies,
        enough: EnoughClients,
        app: AppProcess,
        forgotten: ForgottenRecords,
        leadership: Leadership,
        requests: AppRequests,
        writer: RecordWriter,
        machine: Machine[LeaderState],
    ) -> None:
        self._plan = plan
        self._clients = clients
        self._awaited = awaited
        self._witnesses = witnesses
        self._replies = replies
        self._enough = enough
        self._app = app
        self._forgotten = forgotten
        self._leadership = leadership
        self._requests = requests
        self._writer = writer
        self._machine = machine

    def at(self, now: float) -> RoleStatus:
        """The status ``now``, in seconds since 1970."""
        manifest = self._machine.newest.manifest
        answer_by = self._answer_by()
        members = [member for member in manifest.members.values() if Role.CLIENT in member.roles]
        clients = [self._member(member, manifest, answer_by) for member in members]
        return RoleStatus(
            role=Role.SERVER,
            state=self._machine.state.name.lower(),
            run=self._run(),
            members=most_urgent(clients),
            waits=tuple(self._waits(manifest, answer_by, now)),
            witnesses=tuple(
                self._witness(by, height, manifest)
                for by, height in self._witnesses.possible()
                if by in manifest.members
            ),
            means=mean_of([each.metrics for each in self._replies.answers.values() if each.metrics]),
            here=sum(each.doing.is_here for each in clients),
            of=len(clients),
            takeover=self._leadership.takeover(now),
            offline=self._machine.offline.is_offline,
            manifest_version=manifest.version,
        )

    def _run(self) -> RunStatus | None:
        chain = self._writer.chain
        if chain.head is None:
            return None
        return RunStatus(
            run=chain.run,
            head=chain.head,
            height=chain.height,
            closed=chain.closed,
            app=self._plan.name,
            round=self._replies.round,
            rounds=rounds_of(self._plan.config),
            keep=self._plan.keep.text_if_any,
            best=self._replies.best.told,
            closing="" if chain.closing is None else str(chain.closing),
            term=chain.term,
            leader=chain.manifest.name_of(chain.by),
        )

    def _answer_by(self) -> dict[int, float]:
        """When the answers that have not come are given up, by the node that owes them."""
        owed: dict[int, float] = {}
        for id, message in self._writer.chain.open.items():
            if not self._awaited.has(id) and not self._witnesses.lacks(message):
                owed[message.node] = max(owed.get(message.node, 0.0), self._awaited.deadline(message))
        return owed

    def _member(self, member: Member, manifest: Manifest, answer_by: dict[int, float]) -> MemberStatus:
        node, presence = node_id(member.id), self._clients.presence
        sighting = presence.sighting(node)
        why = sighting.note if sighting is not None and sighting.state is PeerState.REFUSED else ""
        return MemberStatus(
            name=manifest.name_of(member.id),
            role=Role.CLIENT,
            doing=self._doing(member, owes=node in answer_by),
            heard=presence.last_heard(node),
            why=why,
            answer_by=answer_by.get(node),
            answers=self._replies.answers.get(node),
            lateness=self._replies.late.of.get(node),
        )

    def _witness(self, by: bytes, height: int | None, manifest: Manifest) -> WitnessStatus:
        return WitnessStatus(manifest.name_of(by), self._doing(manifest.members[by], owes=False), height)

    def _doing(self, member: Member, *, owes: bool) -> Doing:
        node, presence = node_id(member.id), self._clients.presence
        sighting = presence.sighting(node)
        if self._machine.equivocations.distrust.proof_against(member) is not None:
            return Doing.DISTRUSTED
        if sighting is not None and sighting.state is PeerState.REFUSED:
            return Doing.REFUSING
        if sighting is not None:
            return Doing.WORKING if owes else Doing.HERE
        if presence.left_at(node) is not None:
            return Doing.LEFT
        return Doing.UNHEARD if presence.last_heard(node) is None else Doing.AWAY

    def _waits(self, manifest: Manifest, answer_by: dict[int, float], now: float) -> Iterable[Wait]:
        state, names = self._machine.state, _names(manifest)
        if state is LeaderState.PREPARING and not self._app.is_ready:
            yield Wait(Lack.APP)
        elif state is LeaderState.PREPARING:
            yield Wait(Lack.PAST, self._forgotten.names_of_silent)
        if state is LeaderState.LEADING and self._enough.is_short:
            yield Wait(
                Lack.CLIENTS,
                until=self._enough.is_held_until(),
                here=len(self._clients.listed()),
                needed=self._enough.short_of,
            )
        if self._machine.no_room and state in (LeaderState.LEADING, LeaderState.APPENDING):
            yield Wait(Lack.ROOM)
        if self._leadership.voters.is_short and state in (LeaderState.LEADING, LeaderState.APPENDING):
            yield Wait(Lack.VOTERS)
        if state in (LeaderState.LEADING, LeaderState.APPENDING):
            yield from self._witnesses_awaited(manifest, now)
        if answer_by and state in (LeaderState.LEADING, LeaderState.APPENDING):
            whom = tuple(sorted(names.get(node, f"node {node}") for node in answer_by))
            yield self._replies_awaited(whom, max(answer_by.values()), now)
        if state is LeaderState.ENDING:
            behind = self._clients.presence.lacking(self._writer.chain.head, manifest)
            yield Wait(Lack.CLOSE_HEARD, tuple(sorted(names[node] for node in behind)))
            if keepers := self._clients.keepers_behind():
                yield Wait(Lack.KEPT, tuple(sorted(names.get(node, f"node {node}") for node in keepers)))

    def _replies_awaited(self, whom: tuple[str, ...], until: float, now: float) -> Wait:
        early = self._requests.closes_early(now)
        if early is None:
            return Wait(Lack.REPLIES, whom, until)
        if early.at is not None:
            until = min(until, early.at)
        return Wait(Lack.REPLIES, whom, until, here=early.here, needed=early.needed)

    def _witnesses_awaited(self, manifest: Manifest, now: float) -> Iterable[Wait]:
        """What clients wait for before they train."""
        if (lacking := self._witnesses.lacking(now)) is not None:
            whom = tuple(map(manifest.name_of, lacking.silent))
            yield Wait(Lack.WITNESSES, whom, lacking.until, here=lacking.have, needed=lacking.needed)


def _names(manifest: Manifest) -> dict[int, str]:
    return {node_id(member.id): manifest.name_of(member.id) for member in manifest.members.values()}

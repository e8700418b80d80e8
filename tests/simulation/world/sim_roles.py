"""The roles of a simulation: server and client, with their apps, and keeper."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

from sim_apps import App, ClientApp, Front, Keep
from sim_disk import Disk, chain_of, linked
from sim_federation import key_of, reader_of
from sim_peer import Peer

from protocol.app.calls import AppReady, ServerCall, Start, Task, ToApp
from protocol.blocks.bundle import NamedBundle
from protocol.blocks.cid import CID, Block, cbor_block
from protocol.chain.chain import Chain
from protocol.federation.epochs import read_seed
from protocol.federation.manifest import manifest_at, node_id
from protocol.federation.run_keys import read_private
from protocol.records.bodies import Ack, Comparison, RecomputedAck, Run, RunPrivate
from protocol.records.environment import Environment, Kernel, Numerics
from protocol.records.signed_records import parse_record, read_chained, read_record
from protocol.replies.checks_and_limits import Admission, NormBound
from protocol.roles.acting import Acting
from protocol.roles.client.client import Client
from protocol.roles.client.client_plan import ClientPlan
from protocol.roles.client.kept_run import KeptRun
from protocol.roles.events import AppCalled, AppLost
from protocol.roles.following.followed_run import Verified
from protocol.roles.keeper.keeper import Keeper
from protocol.roles.keeper.kept_runs import Remembered
from protocol.roles.leader.run_plan import (
    KEEPERS_MAY_TAKE,
    LeaderSettings,
    ResumedRun,
    RunPlan,
    TermStart,
    recorded_plan,
)
from protocol.roles.newest_manifest import Author, TrustedManifest
from protocol.roles.server.server import LeadPlan, ServerPlan
from protocol.roles.server.server import Server as TwoRoles
from protocol.roles.standby.standby_plan import RunToReplay, SignedAcks, StandbyPlan
from protocol.votes.promise import KeptVote
from protocol.votes.silence import LEAST_SILENCE
from protocol.wire.announcements import Position, first_counter, topic_all, topic_leader

ENVIRONMENT = Environment(
    Numerics.PORTABLE, "3.11", "linux", "x86_64", "Xeon", "", "glibc", 1, (Kernel("numpy", "baseline"),), ()
)
BUNDLE = cbor_block({"files": []})
RUN_PLAN = RunPlan(NamedBundle(BUNDLE.cid, BUNDLE.cid, None), bytes(32), "simulated", "1.0", (("rounds", 3),), 3)
ADMISSION = Admission(bound=NormBound(1.5, of_median=True))
"""With what `sim_peer.found_in` finds, some replies of most runs are refused."""
FOREVER = 1e9
"""Seconds. Nothing may time out if every run has to end the same."""
CLIENT_TIMEOUT = 30.0
"""Seconds. Nothing takes so long if nothing goes wrong."""


@dataclass(frozen=True)
class Identity:
    """The member for which a peer acts."""

    name: str
    federation: CID

    @property
    def member(self) -> bytes:
        return key_of(self.name).verify_key.raw

    def author(self, disk: Disk) -> Author:
        session = hashlib.sha256(f"{self.name} {disk.starts}".encode()).digest()[:16]
        first, reader = first_counter(disk.starts), reader_of(self.name)
        acting = Acting(first, {run: KeptVote.of(kept.vote) for run, kept in disk.votes.items()})
        return Author(self.member, (key_of(self.name),), first, reader, session, acting)

    def trusted(self, disk: Disk) -> TrustedManifest:
        """The newest manifest that is on the disk, and the blocks of all its versions."""
        assert disk.manifest is not None
        blocks = {cid: disk.blocks[cid] for cid in linked(disk.manifest, disk)}
        manifest = manifest_at(disk.manifest, self.federation, disk, reader=reader_of(self.name))
        return TrustedManifest(manifest, blocks, tuple(disk.proofs))


def acks_of(member: bytes, disk: Disk) -> list[Ack]:
    """The acks of a member that are kept on a disk."""
    bodies = (parse_record(block).body for block in disk.acks.values())
    return [body for body in bodies if isinstance(body, Ack) and body.by == member]


def _remembers(disk: Disk, run: CID) -> bool:
    """Whether a home has forgotten nothing that it signed."""
    return not disk.is_restored


def _to_front(front: Front | None, value: ToApp) -> None:
    assert front is not None
    if isinstance(value, Start):
        front.start(value)
    else:
        assert not isinstance(value, Task)
        front.answer(value)


class Server:
    """Leads the run, or stands by in it and may lead it on, until that is closed, in as many processes as it takes."""

    def __init__(
        self,
        identity: Identity,
        app: Callable[[Keep], App],
        clients: int,
        patient: bool,
        others: int,
        elects: bool,
        *,
        begins: bool,
        plan: RunPlan = RUN_PLAN,
    ) -> None:
        """``patient``: it waits for everybody without end, not only as long as leaders do. ``others``: how many other
        servers there are. ``elects``: it stands if a leader is silent. ``begins``: it is the one that begins the run,
        by its ``plan``.
        """
        self.identity = identity
        self.leads = begins
        self.program = app
        self._plan = plan
        self._patient = patient
        self._least_silence = LEAST_SILENCE if elects else FOREVER
        self._listens = others > 0
        self.topics = topic_all(identity.federation), topic_leader(identity.federation)
        self._clients = clients
        self._front: Front | None = None

    def machine(self, disk: Disk) -> TwoRoles:
        """As `sim_peer.Role` says."""
        disk.put([BUNDLE])  # each of them was given the app by its owner
        disk.unpacked.add(BUNDLE.cid)
        kept: dict[CID, SignedAcks] = {}
        for block in disk.acks.values():
            if isinstance(ack := parse_record(block).body, Ack) and ack.by == self.identity.member:
                kept.setdefault(ack.run, SignedAcks()).keep(ack, block)
            if isinstance(ack, RecomputedAck) and ack.recomputed.comparison is Comparison.DIVERGED:
                kept.setdefault(ack.run, SignedAcks()).disputes.append(block)
        remembers = partial(_remembers, disk)
        settings = LeaderSettings(self._clients, CLIENT_TIMEOUT, admission=ADMISSION, remembers=remembers)
        if self._patient:
            settings = replace(settings, client_timeout=FOREVER, away_after=FOREVER, grace=FOREVER, linger=60.0)
        settings = replace(settings, linger_for_keepers=KEEPERS_MAY_TAKE)
        known = {head.run: Position(head.run, head.head, head.height, head.term) for head in disk.heads.values()}
        newest = next(iter(known.values()), None)
        lead, run = None, None
        if newest is None:
            lead = LeadPlan(self._plan, unless_led=self._listens) if self.leads else None
        elif (leader := read_chained(newest.head, disk).by) == self.identity.member:
            resumed = self._resumed(newest, disk)
            lead, known = LeadPlan(self._recorded(resumed, disk), resumed, self._listens), {}
        else:
            run = RunToReplay(newest, leader)
        standby = StandbyPlan(BUNDLE.cid, 3, once=True, run=run, least_silence=self._least_silence, remembers=remembers)
        plan = ServerPlan(settings, standby, lead)
        author, trusted = self.identity.author(disk), self.identity.trusted(disk)
        return TwoRoles(author, trusted, plan, kept, Verified(known, disk.well_signed))

    def _resumed(self, newest: Position, disk: Disk) -> ResumedRun:
        chain = Chain(self.identity.federation, reader_of(self.identity.name), disk.well_signed)
        records = chain_of(newest.head, disk)
        terms: list[TermStart] = []
        for record in records:
            chain.append(record, disk)
            if not terms or terms[-1].term != chain.term:
                terms.append(TermStart(chain.height, chain.term))
        acks, watched = tuple(disk.acks.values()), chain.run in disk.watched
        return ResumedRun(chain, [record.cid for record in records], acks, terms, watched)

    def _recorded(self, resumed: ResumedRun, disk: Disk) -> RunPlan:
        """With what the run began, as `peer.history.run_to_resume` reads it."""
        keys = resumed.chain.keys
        body = read_record(resumed.chain.run, disk).body
        assert isinstance(body, Run)
        private = read_private(body, RunPrivate, keys)
        assert private is not None
        seed = read_seed(Block(body.seed, disk.get(body.seed)), keys)
        return recorded_plan(body, private, keys, seed, (), elsewhere=resumed.was_taken_over)

    def start_app(self, peer: Peer, app: CID) -> None:
        """As `sim_peer.Role` says."""

        def send(calls: list[ServerCall]) -> None:
            peer.app_says(*([AppLost("killed")] if peer.loses_app() else map(AppCalled, calls)))

        self._front = Front(peer.disk, self.program, send)
        peer.feed(AppReady(ENVIRONMENT))

    def to_app(self, peer: Peer, value: ToApp) -> None:
        """As `sim_peer.Role` says."""
        _to_front(self._front, value)


class TrainingClient:
    """Answers what it is sent, until its run is closed."""

    leads = False

    def __init__(self, identity: Identity, names_app: bool, remembers: bool) -> None:
        """``names_app``: the owner named the app. If not, the app runs once it is approved."""
        self.identity = identity
        self.topics = (topic_all(identity.federation),)
        self.handed: Counter[bytes] = Counter()
        """How often the app was handed each message."""
        self._names_app = names_app
        self._remembers = remembers
        self.works_for = 0.0
        """Seconds that its app takes for each message."""
        self._app: ClientApp | None = None

    def machine(self, disk: Disk) -> Client:
        """As `sim_peer.Role` says."""
        kept: dict[CID, KeptRun] = {}
        for reply in disk.replies.values():
            run = kept.setdefault(reply.run, KeptRun())
            run.replies[reply.message] = reply.reply
            if reply.state is not None:
                run.states[reply.message] = reply.state
        for ack in acks_of(self.identity.member, disk):
            kept.setdefault(ack.run, KeptRun()).keep_ack(ack)
        for block in disk.acks.values():
            if isinstance(body := parse_record(block).body, RecomputedAck):  # a server's word against the run
                kept.setdefault(body.run, KeptRun()).disputes.append(block)
        if self._names_app:
            plan = ClientPlan(BUNDLE.cid, bytes(32), once=True, remembers=partial(_remembers, disk))
            disk.unpacked.add(BUNDLE.cid)
        else:
            plan = ClientPlan(None, bytes(32), once=True, approved=frozenset(disk.approved))
        known = {head.run: Position(head.run, head.head, head.height, head.term) for head in disk.heads.values()}
        verified = Verified(known, disk.well_signed)
        return Client(self.identity.author(disk), self.identity.trusted(disk), plan, kept, verified)

    def start_app(self, peer: Peer, app: CID) -> None:
        """As `sim_peer.Role` says."""
        if app not in peer.disk.unpacked:
            raise AssertionError("an app is started that is not here")
        if not self._names_app and app not in peer.disk.approved:
            raise AssertionError("an app is started that nobody approved")
        self._app = ClientApp(peer.disk, node_id(self.identity.member), self.handed, self._remembers)
        peer.feed(AppReady(ENVIRONMENT))

    def to_app(self, peer: Peer, value: ToApp) -> None:
        """As `sim_peer.Role` says."""
        assert self._app is not None
        if isinstance(value, Task):
            first = value.message not in self.handed  # lost over one message twice, its answer would be an error
            answer = self._app.work(value, peer.now)
            says = AppLost("killed") if first and peer.loses_app() else answer
            peer.later(self.works_for, lambda: peer.app_says(says)) if self.works_for else peer.app_says(says)


class HistoryKeeper:
    """Keeps the run, and stands between all others."""

    leads = False

    def __init__(self, identity: Identity) -> None:
        self.identity = identity
        self.topics = topic_all(identity.federation), topic_leader(identity.federation)

    def machine(self, disk: Disk) -> Keeper:
        """As `sim_peer.Role` says."""
        at = {head.run: Position(head.run, head.head, head.height, head.term) for head in disk.heads.values()}
        unfinished = {run: position for run, position in at.items() if run not in disk.complete}
        whole = {run: position for run, position in at.items() if run in disk.complete}
        remembered = Remembered(unfinished, whole, disk.well_signed)
        return Keeper(self.identity.author(disk), self.identity.trusted(disk), remembered)

    def start_app(self, peer: Peer, app: CID) -> None:
        """As `sim_peer.Role` says."""
        raise AssertionError("a keeper starts an app")

    def to_app(self, peer: Peer, value: ToApp) -> None:
        """As `sim_peer.Role` says."""
        raise AssertionError("a keeper has no app")

"""The server peer and the client peer of a simulation, with their apps."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from sim_apps import App, ClientApp, Front, Keep
from sim_disk import Disk, chain_of, linked
from sim_federation import key_of, reader_of
from sim_peer import Peer

from protocol.app.calls import AppReady, ServerCall, Start, Task, ToApp
from protocol.blocks.bundle import NamedBundle
from protocol.blocks.cid import CID, cbor_block
from protocol.chain.chain import Chain
from protocol.federation.manifest import manifest_at, node_id
from protocol.records.bodies import Ack
from protocol.records.environment import Environment, Kernel, Numerics
from protocol.records.signed_records import parse_record
from protocol.replies.checks_and_limits import Admission, NormBound
from protocol.roles.client.client import Client
from protocol.roles.client.client_plan import ClientPlan
from protocol.roles.client.followed_run import Verified
from protocol.roles.client.kept_run import KeptRun
from protocol.roles.events import AppCalled, AppLost, AppsApproved
from protocol.roles.leader.leader import Leader
from protocol.roles.leader.run_plan import LeaderSettings, ResumedRun, RunPlan
from protocol.roles.newest_manifest import Author, TrustedManifest
from protocol.wire.announcements import Position, first_counter, topic_all, topic_leader

ENVIRONMENT = Environment(
    Numerics.PORTABLE, "3.11", "linux", "x86_64", "Xeon", "", "glibc", 1, (Kernel("numpy", "baseline"),), ()
)
BUNDLE = cbor_block({"files": []})
ADMISSION = Admission(bound=NormBound(1.5, of_median=True))
"""With what `sim_peer.found_in` finds, some replies of most runs are refused."""
FOREVER = 1e9
"""Seconds; nothing may time out where every run has to end the same."""
CLIENT_TIMEOUT = 30.0
"""Seconds; nothing takes so long where nothing goes wrong."""
LOOKING = 0.5
"""Seconds between two looks of an owner."""
THINKING = 0.05
"""Seconds an app computes, on average."""


@dataclass(frozen=True)
class Identity:
    """Who a peer acts for."""

    name: str
    federation: CID

    @property
    def member(self) -> bytes:
        return key_of(self.name).verify_key.raw

    def author(self, disk: Disk) -> Author:
        session = hashlib.sha256(f"{self.name} {disk.starts}".encode()).digest()[:16]
        return Author(self.member, (key_of(self.name),), first_counter(disk.starts), reader_of(self.name), session)

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


class Server(Peer):
    """Leads one run, from the run record to the close record, in as many processes as it takes."""

    def __init__(
        self, identity: Identity, clients: int, app: Callable[[Keep], App], patient: bool, *simulation: Any
    ) -> None:
        """``patient``: it waits for everybody without end; else as long as leaders do."""
        super().__init__("server", *simulation)
        self.topics = topic_all(identity.federation), topic_leader(identity.federation)
        self.identity = identity
        self._clients = clients
        self._patient = patient
        self._program = app
        self._front: Front | None = None
        self.disk.put([BUNDLE])

    @property
    def closed(self) -> CID | None:
        """The head of the closed run, if there is one."""
        return next((head.head for head in self.disk.heads.values() if head.closed), None)

    def start(self) -> None:
        """Start a process, unless the run is closed: a next one would begin another run."""
        if self.closed is None:
            super().start()
        else:
            self.finished = True

    def _build(self, now: float) -> Leader | Client:
        plan = RunPlan(NamedBundle(BUNDLE.cid, BUNDLE.cid, None), bytes(32), "simulated", "1.0", (("rounds", 3),), 3)
        settings = LeaderSettings(self._clients, CLIENT_TIMEOUT, admission=ADMISSION)
        if self._patient:
            settings = replace(settings, client_timeout=FOREVER, away_after=FOREVER, grace=FOREVER, linger=60.0)
        identity = self.identity
        return Leader(identity.author(self.disk), identity.trusted(self.disk), plan, settings, self._resumed())

    def _resumed(self) -> ResumedRun | None:
        if not self.disk.heads:
            return None
        (head,) = self.disk.heads.values()
        reader = reader_of(self.identity.name)
        chain = Chain(self.identity.federation, reader, self.disk.well_signed)
        records = chain_of(head.head, self.disk)
        for record in records:
            chain.append(record, self.disk)
        return ResumedRun(chain, [record.cid for record in records], tuple(self.disk.acks.values()))

    def _strike(self) -> None:
        if self._random.random() < self._faults.clean_stops:
            self._stop_cleanly()
        else:
            self.crash()

    def _start_app(self, app: CID) -> None:
        self._front = Front(self.disk, self._program, self._send)
        self.feed(AppReady(ENVIRONMENT))

    def _send(self, call: ServerCall) -> None:
        event = AppLost("killed") if self._loses_app() else AppCalled(call)
        self._in_app_process(self._random.expovariate(1.0 / THINKING), lambda: self.feed(event))

    def _to_app(self, value: ToApp) -> None:
        assert self._front is not None
        if isinstance(value, Start):
            self._front.start(value)
        else:
            assert not isinstance(value, Task)
            self._front.answer(value)

    def _stopped(self, why: str) -> None:
        self.finished = not why
        if self.finished:
            self._end_in_order()
        else:
            self.crash(why)


class ClientPeer(Peer):
    """Answers what it is sent, until its run is closed."""

    def __init__(self, name: str, identity: Identity, names_app: bool, remembers: bool, *simulation: Any) -> None:
        """``names_app``: the owner named the app; else it runs once it is approved."""
        super().__init__(name, *simulation)
        self._names_app = names_app
        self._remembers = remembers
        self.topics = (topic_all(identity.federation),)
        self.identity = identity
        self.handed: Counter[bytes] = Counter()
        self._client_app: ClientApp | None = None

    def approve(self) -> None:
        """The owner approves what runs wait for, and looks again later where none does."""
        if self.disk.asked <= self.disk.approved:
            self._timeline.after(LOOKING, self.approve)
            return
        self.disk.approved |= self.disk.asked
        self._trace("approves")
        if self._machine is not None:
            self._feed_later(0.0, AppsApproved(frozenset(self.disk.approved)))

    def _build(self, now: float) -> Leader | Client:
        kept: dict[CID, KeptRun] = {}
        for reply in self.disk.replies.values():
            run = kept.setdefault(reply.run, KeptRun())
            run.replies[reply.message] = reply.reply
            run.state = reply.state or run.state
        for ack in acks_of(self.identity.member, self.disk):
            kept.setdefault(ack.run, KeptRun()).keep_ack(ack)
        if self._names_app:
            plan = ClientPlan(BUNDLE.cid, bytes(32), once=True)
            self.disk.unpacked.add(BUNDLE.cid)
        else:
            plan = ClientPlan(None, bytes(32), once=True, approved=frozenset(self.disk.approved))
        heads = list(self.disk.heads.values())
        known = {head.run: Position(head.run, head.head, head.height, head.term) for head in heads}
        verified = Verified(known, self.disk.well_signed)
        return Client(self.identity.author(self.disk), self.identity.trusted(self.disk), plan, kept, verified)

    def _start_app(self, app: CID) -> None:
        if app not in self.disk.unpacked:
            raise AssertionError("an app is started that is not here")
        if not self._names_app and app not in self.disk.approved:
            raise AssertionError("an app is started that nobody approved")
        self._client_app = ClientApp(self.disk, node_id(self.identity.member), self.handed, self._remembers)
        self.feed(AppReady(ENVIRONMENT))

    def _to_app(self, value: ToApp) -> None:
        assert self._client_app is not None
        if isinstance(value, Task):
            first = value.message not in self.handed  # lost over one message twice, its answer would be an error
            answer = self._client_app.work(value, self._timeline.now)
            event = AppLost("killed") if first and self._loses_app() else answer
            self._in_app_process(self._random.expovariate(1.0 / THINKING), lambda: self.feed(event))

    def _stopped(self, why: str) -> None:
        self.finished = not why
        if self.finished:
            self._end_in_order()
        else:
            self.crash(why)

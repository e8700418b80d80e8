"""The server peer and the client peer of a simulation, with their apps."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sim_apps import App, ClientApp, Front, Keep
from sim_disk import chain_of
from sim_peer import Peer

from crypto.keys import SigningKey
from protocol.announcements import first_counter, topic_all, topic_leader
from protocol.app_calls import Environment, ServerCall, Start, Task, ToApp
from protocol.blocks import CID, cbor_block
from protocol.chain import Chain
from protocol.client import Client, ClientPlan, KeptRun
from protocol.events import AppAnswered, AppCalled, AppReady
from protocol.gathering import LeaderSettings
from protocol.leader import Leader
from protocol.machine import Author, Machine, TrustedManifest
from protocol.manifest import node_id
from protocol.plan import ResumedRun, RunPlan

ENVIRONMENT = Environment("3.11", "1.41", "2", "2.9", "linux", "avx2", "openblas", "", 1)
BUNDLE = cbor_block({"files": []})
SEED = cbor_block({"seed": bytes(32)})
FOREVER = 1e9
"""Seconds; nothing may time out where every run has to end the same."""
THINKING = 0.05
"""Seconds an app computes, on average."""


@dataclass(frozen=True)
class Identity:
    """Who a peer acts for."""

    key: SigningKey
    trusted: TrustedManifest

    @property
    def member(self) -> bytes:
        return self.key.verify_key.raw

    def author(self, start: int) -> Author:
        return Author(self.member, self.key, first_counter(start))


class Server(Peer):
    """Leads one run, from the run record to the close record, in as many processes as it takes."""

    def __init__(self, identity: Identity, clients: int, app: Callable[[Keep], App], *simulation: Any) -> None:
        super().__init__("server", *simulation)
        federation = identity.trusted.manifest.federation
        self.topics = topic_all(federation), topic_leader(federation)
        self.identity = identity
        self._clients = clients
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

    def _build(self, now: float) -> Machine:
        plan = RunPlan(BUNDLE.cid, SEED, bytes(32), "simulated", "1.0", (("rounds", 3),), 1)
        settings = LeaderSettings(self._clients, FOREVER, away_after=FOREVER, grace=FOREVER, linger=60.0)
        author = self.identity.author(self.disk.starts)
        return Leader(author, self.identity.trusted, plan, settings, self._resumed())

    def _resumed(self) -> ResumedRun | None:
        if not self.disk.heads:
            return None
        (head,) = self.disk.heads.values()
        chain, records = Chain(self.identity.trusted.manifest.federation), chain_of(head.head, self.disk)
        for record in records:
            chain.append(record, self.disk)
        return ResumedRun(chain, [record.cid for record in records])

    def _strike(self) -> None:
        if self._random.random() < self._faults.clean_stops:
            self._stop_cleanly()
        else:
            self.crash()

    def _start_app(self) -> None:
        self._front = Front(self.disk, self._program, self._send)
        self.feed(AppReady(ENVIRONMENT))

    def _send(self, call: ServerCall) -> None:
        delay = self._random.expovariate(1.0 / THINKING)
        self._in_app_process(delay, lambda: self.feed(AppCalled(call)))

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
            self._end("is done")
        else:
            self.crash(why)


class ClientPeer(Peer):
    """Answers what it is sent, until its run is closed."""

    def __init__(self, name: str, identity: Identity, *simulation: Any) -> None:
        super().__init__(name, *simulation)
        self.topics = (topic_all(identity.trusted.manifest.federation),)
        self.identity = identity
        self.handed: Counter[bytes] = Counter()
        self._client_app: ClientApp | None = None

    def _build(self, now: float) -> Machine:
        kept: dict[CID, KeptRun] = {}
        for reply in self.disk.replies.values():
            run = kept.setdefault(reply.run, KeptRun())
            run.replies[reply.message] = reply.reply
            run.state = reply.state or run.state
        plan = ClientPlan(BUNDLE.cid, bytes(32), once=True)
        return Client(self.identity.author(self.disk.starts), self.identity.trusted, plan, kept)

    def _start_app(self) -> None:
        self._client_app = ClientApp(self.disk, node_id(self.identity.member), self.handed)
        self.feed(AppReady(ENVIRONMENT))

    def _to_app(self, value: ToApp) -> None:
        assert self._client_app is not None
        if isinstance(value, Task):
            answer = self._client_app.work(value, self._timeline.now)
            delay = self._random.expovariate(1.0 / THINKING)
            self._in_app_process(delay, lambda: self.feed(AppAnswered(answer)))

    def _stopped(self, why: str) -> None:
        self.finished = not why
        if self.finished:
            self._end("is done")
        else:
            self.crash(why)

"""One simulated peer: carries out the effects of its machine, crashes, and starts again from its disk.

Every step of a process goes through `Peer.later`. A crash comes before a step or after it, and takes all later steps of
that process with it. So an effect may have happened or not, and if it has, perhaps nobody heard of it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from random import Random
from typing import Protocol

from sim_clock import PeerClock
from sim_disk import Disk, linked
from sim_faults import Faults
from sim_network import Network
from sim_time import Timeline
from sim_witness import Witness

from protocol.app.calls import Examine, Examined, Failed, ToApp
from protocol.blocks.cid import CID, BlockError, BlockSource, MemoryBlocks
from protocol.chain.closure import missing
from protocol.replies.checks_and_limits import Check, Examination, FailedCheck
from protocol.roles.appointing.appointment import Appointment
from protocol.roles.client.client import Client
from protocol.roles.effects import (
    AskOwner,
    Connect,
    Durable,
    Effect,
    FetchContent,
    FetchRecord,
    Hand,
    KeepAcks,
    KeepManifest,
    KeepPlace,
    KeepProof,
    KeepReply,
    KeepVote,
    KeepWatched,
    KeepWhole,
    PassOn,
    PinRun,
    Publish,
    Report,
    StartApp,
    Stop,
    StopCause,
    Store,
    UnpackApp,
    WakeAt,
    What,
    WriteHead,
)
from protocol.roles.events import (
    AppsApproved,
    Done,
    Due,
    EngineAnswered,
    Event,
    Fetched,
    ManifestChanged,
    Received,
    Started,
    Stopping,
)
from protocol.roles.keeper.keeper import Keeper
from protocol.roles.server.server import Server
from protocol.roles.standby.replaying import CRASHES
from protocol.wire.announcements import next_start

Fetch = FetchRecord | FetchContent | Examine | UnpackApp | PinRun
"""The effects that may need other peers."""

STANDSTILL_WITHIN = 30.0
"""Seconds after the start of a simulation; an undisturbed run takes a few."""
DISK_TIME = 0.002
"""Seconds that a durable step takes on average."""
PIPE_TIME = 0.0005
FETCH_TIMEOUT = 5.0
FETCH_AGAIN = 0.25
"""Seconds after which a fetch looks again for a peer that has the block."""
APP_START = 0.5
LISTEN_EVERY = 1.0
LOOKING = 0.5
"""Seconds between two looks of an owner."""
THINKING = 0.05
"""Seconds that an app computes on average."""


def found_in(reply: CID) -> Examination:
    """What every look at a content finds: a fault in some contents, and a norm in all others."""
    if reply.digest[0] < 32:
        return Examination((FailedCheck(Check.FINITE, "a number that is none"),))
    return Examination(norm=float(reply.digest[1]))


class Role(Protocol):
    """What differs between a server, a client, a keeper and an admin's command. It keeps nothing that a crash takes
    away but its app process."""

    leads: bool
    """Whether the peer leads one run, and is done when that is closed."""
    topics: tuple[str, ...]

    def machine(self, disk: Disk) -> Server | Client | Keeper | Appointment:
        """The machine of a new process, from what is on disk."""

    def start_app(self, peer: Peer, app: CID) -> None:
        """Take a fresh app process of ``peer``'s."""

    def to_app(self, peer: Peer, value: ToApp) -> None:
        """Hand something to the app process of ``peer``'s."""


class Peer:
    """A peer in a role. ``disk`` outlives the processes."""

    def __init__(
        self,
        name: str,
        role: Role,
        timeline: Timeline,
        random: Random,
        faults: Faults,
        network: Network,
        witness: Witness,
    ) -> None:
        self.name = name
        self.role = role
        self.disk = Disk()
        self.finished = False
        """Whether its machine has come to its end, and nothing starts it again."""
        self.is_lost = False
        """Whether its machine is gone for good."""
        self.crashes = 0
        self._timeline = timeline
        self._clock = PeerClock(timeline, random, faults)
        self._random = random
        self._faults = faults
        self._network = network
        self._witness = witness
        self._machine: Server | Client | Keeper | Appointment | None = None
        self._process = 0
        self._app = 0
        self._lost_apps = 0
        """How many app processes of this process were lost."""
        self._stopped_itself = False
        """Whether no fault ended the process before: then it is none that another one starts."""
        self._fetched: set[CID] = set()
        """Records that were fetched once: its node has them, though its home keeps none that it has not verified."""
        self._alarm: float | None = None
        self._disk_free = self._pipe_free = 0.0
        self._disk_full = False
        self._stands_until = 0.0
        for _ in range(faults.standstills):
            timeline.after(random.uniform(0.0, STANDSTILL_WITHIN), self._stand_still)
        self._begun: list[Durable] = []
        """Durable steps that are on their way to disk."""

    # -- processes -------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start a process, unless its run is closed: a next one would begin another run."""
        if self.is_lost:
            return
        if self.role.leads and self.disk.closed is not None:
            self.finished = True
            return
        self._process += 1
        self._app += 1
        self._alarm = None
        self._lost_apps = 0
        self._disk_full, self._begun = False, []
        self._disk_free = self._pipe_free = self._timeline.now
        self._clock.restart()
        self.disk.starts = next_start(self.disk.starts, self._clock.now)
        (self._trace if self._stopped_itself else self._disturb)("starts")
        self._stopped_itself = False
        self._machine = self.role.machine(self.disk)
        self._network.join(self.name, self.role.topics, self._hear, self.disk)
        self.feed(Started(addresses=(f"/sim/{self.name}",)))
        if self._faults.offline_times or self._faults.standstills:
            self._listen(self._process)

    def crash(self, why: str = "crashes") -> None:
        """End the process. Another one starts some time later."""
        self._end(why)
        downtime = self._random.expovariate(1.0 / (self._faults.downtime or 1.0))
        self._timeline.after(downtime, self.start)

    def lose(self) -> None:
        """Its machine is gone for good, with its disk, unless its run is closed."""
        if not self.finished and self.disk.closed is None:
            self.is_lost = True
            self._end("is lost for good")

    def _end_in_order(self) -> None:
        """End the process after what it had begun, as `peer.run.runner` closes its pools."""
        for effect in self._begun:
            self.disk.carry_out(effect)
            self._witness.terms.kept(self.disk, effect)
        self._end("is done")

    def _end(self, why: str) -> None:
        self._process += 1
        self._machine = None
        self._network.leave(self.name)
        (self._trace if self.finished or self._stopped_itself else self._disturb)(why)

    def _stopped(self, why: str) -> None:
        """The machine is at its end; ``why`` it could not go on, if so."""
        self.finished = not why
        if self.finished:
            self._end_in_order()
        else:
            self._stopped_itself = not (self._disk_full or self._lost_apps)
            self.crash(why)

    def later(self, delay: float, step: Callable[[], None]) -> None:
        """Let this process do ``step``, unless it is gone by then."""
        process = self._process

        def do() -> None:
            if process != self._process:
                return
            if self._timeline.now < self._stands_until:
                self._timeline.after(self._stands_until - self._timeline.now, do)
                return
            strikes = self.crashes < self._faults.crashes and self._random.random() < self._faults.crash_chance
            after = strikes and self._random.random() < 0.5
            if not strikes or after:
                step()
            if strikes and process == self._process:
                self.crashes += 1
                self._strike()

        self._timeline.after(delay, do)

    def _stand_still(self) -> None:
        length = self._random.uniform(0.5, 1.5) * self._faults.standstill_length
        self._stands_until = self._timeline.now + length
        self._disturb(f"stands still for {length:.1f} s")
        self._timeline.after(length, lambda: self._disturb("goes on"))

    def _strike(self) -> None:
        if self.role.leads and self._random.random() < self._faults.clean_stops:
            self.feed(Stopping())
            self.crash("stops")
        else:
            self.crash()

    def loses_app(self) -> bool:
        """Whether the app process is lost now, by itself."""
        lost = self.crashes < self._faults.crashes and self._random.random() < self._faults.app_losses
        self.crashes += lost
        self._lost_apps += lost
        return lost

    def learn(self, manifest: CID, blocks: Mapping[CID, bytes]) -> None:
        """Keep the newer manifest that the owner has, and tell the process if there is one."""
        self.disk.blocks.update(blocks)
        self.disk.manifest = manifest
        self._trace(f"has manifest {manifest}")
        if self._machine is not None:
            self._feed_later(0.0, ManifestChanged(manifest, blocks))

    def approve(self) -> None:
        """The owner approves the apps that runs wait for. If there is none yet, it looks again later."""
        if self.disk.asked <= self.disk.approved:
            self._timeline.after(LOOKING, self.approve)
            return
        self.disk.approved |= self.disk.asked
        self._trace("approves")
        if self._machine is not None:
            self._feed_later(0.0, AppsApproved(frozenset(self.disk.approved)))

    def feed(self, event: Event) -> None:
        """Let the machine take an event, and carry out what it wants."""
        assert self._machine is not None
        process = self._process
        for effect in self._machine.handle(event, self._clock.now):
            if process == self._process:
                self._carry_out(effect)

    def _feed_later(self, delay: float, event: Event) -> None:
        self.later(delay, lambda: self.feed(event))

    def _listen(self, process: int) -> None:
        """Tell the machine each second that the engine answers, if it does."""
        if process == self._process:
            if self._network.answers(self.name) and self._timeline.now >= self._stands_until:
                self.feed(EngineAnswered())
            self._timeline.after(LISTEN_EVERY, lambda: self._listen(process))

    def _hear(self, data: bytes) -> None:
        self._feed_later(0.0, Received(data))

    def _disturb(self, what: str) -> None:
        self._timeline.disturb(self.name, what)

    def _trace(self, what: str) -> None:
        self._timeline.trace(self.name, what)

    # -- effects ---------------------------------------------------------------------------------------------------

    def _carry_out(self, effect: Effect) -> None:
        match effect:
            case Store() | WriteHead() | KeepReply() | KeepProof() | KeepAcks() | KeepVote():
                self._write(effect)
            case KeepManifest() | KeepPlace() | KeepWatched() | KeepWhole() | AskOwner():
                self._write(effect)
            case FetchRecord() | FetchContent() | Examine() | UnpackApp() | PinRun():
                self._begin_fetch(effect)
            case Publish() | PassOn():
                self._say(effect)
            case StartApp() | Hand():
                self._to_app(effect)
            case WakeAt(at):
                self._wake_at(at)
            case Report() | Connect():
                self._tell(effect)
            case Stop(why, cause):  # that another contradicts a run which is closed, people are told when it is over
                is_over = cause is StopCause.DISPUTE and self.disk.closed is not None
                self._stopped("" if is_over else why)

    def _tell(self, effect: Report | Connect) -> None:
        """Its owner starts a standby again that gives the app up, because that was lost again and again."""
        self._trace(str(effect))
        if isinstance(effect, Report) and effect.what is What.NOT_TOLD and self._lost_apps >= CRASHES:
            self.later(0.0, lambda: self.crash("is started again by its owner"))

    def _say(self, effect: Publish | PassOn) -> None:
        match effect:
            case Publish():
                self._publish(effect)
            case PassOn(data=data):  # to all that would ask, and at once
                for topic in self.role.topics:
                    self._network.publish(self.name, topic, data)

    def _to_app(self, effect: StartApp | Hand) -> None:
        match effect:
            case StartApp(app):
                self._app += 1
                self._in_app_process(APP_START, lambda: self.role.start_app(self, app))
            case Hand(value):
                self._pipe_free = max(self._timeline.now, self._pipe_free) + PIPE_TIME
                self._in_app_process(self._pipe_free - self._timeline.now, lambda: self.role.to_app(self, value))

    def _write(self, effect: Durable) -> None:
        """Write steps in the order given. A full disk keeps nothing of a step, nor of later ones."""
        self._disk_free = max(self._timeline.now, self._disk_free) + self._random.expovariate(1.0 / DISK_TIME)
        self._disk_full = self._disk_full or self._random.random() < self._faults.full_disks
        full = self._disk_full
        if not full:
            self._begun.append(effect)

        def write() -> None:
            if not full:
                self._begun.remove(effect)
                self.disk.carry_out(effect)
                self._witness.terms.kept(self.disk, effect)
            if not isinstance(effect, KeepManifest | KeepPlace | KeepWatched | KeepWhole | AskOwner):
                answer = Failed(effect.id, "the disk is full") if full else Done(effect.id)
                self._feed_later(self._random.expovariate(1.0 / DISK_TIME), answer)

        self.later(self._disk_free - self._timeline.now, write)

    def _begin_fetch(self, effect: Fetch) -> None:
        """Only the network fails: what is on our own disk is there."""
        failing = self._random.random() < self._faults.fetch_failure
        if failing and not self._has(effect):
            self._feed_later(FETCH_TIMEOUT, Failed(effect.id, "nobody answered in time"))
            return
        give_up = self._timeline.now + FETCH_TIMEOUT
        self.later(self._network.delay(), lambda: self._fetch(effect, give_up))

    def _has(self, effect: Fetch) -> bool:
        match effect:
            case FetchRecord(cid=cid, kind=None):
                return cid in self.disk.blocks or cid in self._fetched
            case FetchRecord(cid=cid):
                return cid in self._fetched or not missing(cid, self.disk)
            case UnpackApp(bundle=bundle):
                return self.disk.whole(bundle.content)
            case FetchContent(cid=root) | Examine(reply=root) | PinRun(head=root):
                return self.disk.whole(root)

    def _fetch(self, effect: Fetch, give_up: float) -> None:
        """Take blocks from the peers within reach, and look again until it is time to give up."""
        try:
            answer = self._taken(effect)
        except BlockError as error:
            if self._timeline.now < give_up:
                self.later(FETCH_AGAIN, lambda: self._fetch(effect, give_up))
                return
            may_lack = isinstance(effect, PinRun) and effect.may_lack
            answer = Done(effect.id) if may_lack else Failed(effect.id, str(error))
        self.feed(answer)

    def _taken(self, effect: Fetch) -> Event:
        swarm = self._network.reach(self.name)
        match effect:
            case FetchRecord():
                fetched: dict[CID, bytes] = {}
                lacking = [effect.cid]
                while lacking:
                    fetched.update((each, swarm.get(each)) for each in lacking)
                    known = MemoryBlocks(fetched)
                    lacking = missing(effect.cid, known, effect.trusted, effect.kind) if effect.kind else []
                self._fetched.add(effect.cid)
                return Fetched(effect.id, fetched)
            case UnpackApp(id, bundle):
                self._take_content(bundle.content, swarm)
                self.disk.unpacked.add(bundle.app)
                return Done(id)
            case FetchContent(id, root) | Examine(id, reply=root) | PinRun(id, root):
                self._take_content(root, swarm)
                return Examined(id, found_in(root)) if isinstance(effect, Examine) else Done(id)

    def _take_content(self, root: CID, swarm: BlockSource) -> None:
        """Take what is within reach. Raises BlockError: if that is not all."""
        nowhere: dict[CID, BlockError] = {}
        blocks = self.disk.blocks
        while lacking := [cid for cid in linked(root, self.disk) if cid not in blocks and cid not in nowhere]:
            for cid in lacking:
                try:
                    blocks[cid] = swarm.get(cid)
                except BlockError as error:
                    nowhere[cid] = error
        for error in nowhere.values():
            raise error

    def _publish(self, effect: Publish) -> None:
        if effect.subject != "shown":  # that is what another peer has said
            self._witness.saw(self.disk, effect.data)
        self._network.publish(self.name, effect.topic, effect.data)

    def _wake_at(self, at: float) -> None:
        self._alarm = at
        self.later(self._clock.until(at), lambda: self._ring(at))

    def _ring(self, at: float) -> None:
        if self._alarm == at:
            self._alarm = None
            self.feed(Due())

    # -- the app process -------------------------------------------------------------------------------------------

    def app_says(self, *events: Event) -> None:
        """Let the app process say something after it has computed for a while."""

        def say() -> None:
            app = self._app
            for event in events:
                if app == self._app and self._machine is not None:
                    self.feed(event)

        self._in_app_process(self._random.expovariate(1.0 / THINKING), say)

    @property
    def now(self) -> float:
        """The time by the peer's clock."""
        return self._clock.now

    def _in_app_process(self, delay: float, step: Callable[[], None]) -> None:
        """Let the present app process do ``step``, unless another one has been started by then."""
        app = self._app
        self.later(delay, lambda: step() if app == self._app else None)

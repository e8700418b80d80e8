"""The peer process: feeds events to a role's machine and carries out its effects, and nothing else."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Final

from peer.apps.app_process import AppCommand, AppProcess
from peer.apps.app_python import OUR_PYTHON, machine_of
from peer.apps.unpacked_apps import UnpackedApps
from peer.base import logs
from peer.base.clock import Clock
from peer.base.errors import PeerError
from peer.base.faults import Faults
from peer.engine.engine_retries import EngineRetries
from peer.engine.interface import Engine, EngineError, Subscription
from peer.home.home import Home
from peer.home.home_watch import HomeWatch
from peer.home.key_watch import KeyWatch
from peer.home.reader_choice import grants_in
from peer.keeping.upkeep import Upkeep
from peer.run.announcement_queue import AnnouncementQueue
from peer.run.asking import SharedAsking, Talker
from peer.run.durable_effects import DurableEffects
from peer.run.effect_threads import BackgroundEffect, EffectThreads
from peer.run.engine_effects import EngineEffects
from peer.run.event_queue import EventQueue
from protocol.app.calls import (
    Answered,
    AppReady,
    Diverged,
    Examine,
    Examined,
    Failed,
    Finished,
    FromApp,
    Halted,
    Progress,
    Replayed,
)
from protocol.blocks.cid import CID, Block, BlockError
from protocol.records.bodies import Role
from protocol.roles.effects import (
    AskOwner,
    AsRecorded,
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
    ReadBundle,
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
    AppCalled,
    AppLost,
    AppsApproved,
    Done,
    Due,
    EngineAnswered,
    Event,
    KeysChanged,
    ManifestChanged,
    Received,
    RoomChanged,
    Started,
    Stopping,
    ToClose,
    ToHandOver,
)
from protocol.roles.following.follower_states import FollowerState
from protocol.roles.leader.leader_states import LeaderState
from protocol.roles.server.running_role import RunningRole
from protocol.wire.asking import is_asked
from strategy.apps.dependencies import lacking
from strategy.replay.format import server_environment

STAY_CONNECTED: Final = 5.0
"""Seconds between connecting to the members' engines again. Nodes that were away do not call back."""

LISTEN_EVERY: Final = 1.0
"""Seconds between checks whether the engine answers (`protocol.roles.offline_times`)."""

STOP_SECONDS: Final = 15.0
"""Seconds that the engine has to finish what it has begun when the peer stops. It may hang."""

MOST_TOLD: Final = 20
"""Lines on its progress that an app may have people told in a second. What is over that is dropped."""

LONGEST_TOLD: Final = 500
"""Characters of such a line."""

HOME_POLL: Final = 0.5
"""Seconds between checks whether the owner has changed the home."""

ROOM_POLL: Final = 1.0
"""Seconds between checks whether the owner has said something else of what stays, or made room."""


@dataclass(frozen=True, slots=True)
class Ending:
    """How a peer process ended. ``why`` is empty if it has done everything."""

    why: str = ""
    cause: StopCause = StopCause.MEANS
    fix: str = ""
    """What to do, if that is known better than from the cause."""
    interrupted: bool = False
    """The owner stopped it. The run can be resumed."""


@dataclass(frozen=True, slots=True)
class _FromApp:
    """An event from the app process with this generation."""

    generation: int
    event: Event


class Runner:
    """Runs one machine to its end."""

    def __init__(
        self,
        machine: RunningRole,
        engine: Engine,
        durable: DurableEffects,
        command: AppCommand | None,
        topics: Sequence[str],
        *,
        home: Home,
        keys: KeyWatch,
        asking: SharedAsking | None,
        upkeep: Upkeep,
        place: int,
        carries: Sequence[str] = (),
        on_report: Callable[[Report], None],
    ) -> None:
        """``command`` starts the app process; None if the role has none. ``carries`` are topics that the engine passes
        on, and that are nothing to us."""
        self._machine = machine
        self._engine = engine
        self._durable = durable
        self._topics = topics
        self._carries = carries
        self._keys = keys
        self._on_report = on_report
        self._clock = Clock()
        self._events: EventQueue[Event | _FromApp] = EventQueue()
        self._python = OUR_PYTHON if command is None else command.python
        self._has_app = None if command is None else AppProcess(command, self._heard, self._lost)
        self._apps = UnpackedApps(home, place)
        self._home = HomeWatch(
            durable.federations,
            durable.federation,
            durable.journal,
            with_apps=machine.state is FollowerState.NEW,
        )
        self._looked_at: set[CID] = set()
        """The apps whose dependencies were checked."""
        self._faults = Faults(home.path, lambda: None if self._has_app is None else self._has_app.pid)
        self._alarm: asyncio.TimerHandle | None = None
        self._ending: Ending | None = None
        self._interrupted = False
        self._retries = EngineRetries()
        self._asks = EngineEffects(engine, durable.journal, self._apps, self._retries, self._report)
        self._to_examine: dict[int, Examine] = {}
        """The replies that the app process has to examine. A new process is asked again."""
        self._durable_failure: Exception | None = None
        self._threads = EffectThreads()
        self._intake = AnnouncementQueue(self._received)
        self._asking = asking
        self._upkeep = upkeep
        self._grow: set[CID] = set()
        """The runs of which this role writes something."""
        self._no_room = ""
        """What the machine was told last of the room on the disk."""
        self._place = place
        self._told: deque[float] = deque(maxlen=MOST_TOLD)
        """When people were last told of the app's progress."""

    @property
    def _app(self) -> AppProcess:
        assert self._has_app is not None  # only a role with an app has something to do with one
        return self._has_app

    async def run(self) -> Ending:
        """Run until the machine stops, or `interrupt` is called."""
        self._loop = asyncio.get_running_loop()
        changed = await self._looked_at_home()
        subscriptions = self._subscribe()
        if self._asking is not None:
            await asyncio.to_thread(self._asking.join, self._place, self._talker())
        kept_up = self._watch_home(), self._watch_room(), self._stay_connected(), self._listen()
        watching = [asyncio.create_task(each) for each in kept_up]
        try:
            self._events.put(Started(self._engine.addresses()))
            for each in changed:
                self._events.put(each)
            while not self._is_over:
                event = self._current(await self._events.next())
                if event is None:
                    continue
                if isinstance(event, Received):
                    self._intake.taken(event)
                await self._follow_keys(event)
                await self._hand_in(event)
                if isinstance(event, Stopping):
                    self._end(Ending(interrupted=True))
        finally:
            for task in watching:
                task.cancel()
            if self._alarm is not None:
                self._alarm.cancel()
            await self._stop_app()
            await asyncio.to_thread(self._close, subscriptions)
            await asyncio.to_thread(self._upkeep.left, self._grow)
            dropped = {why.value: n for why, n in self._machine.inbox.dropped.items()}
            if dropped or self._intake.dropped:
                logs.event("announcements-dropped", **dropped, waiting=self._intake.dropped)
        assert self._ending is not None
        return self._ending

    def _subscribe(self) -> list[Subscription]:
        heard = [self._engine.subscribe(topic, self._intake.receive) for topic in self._topics]
        return heard + [self._engine.subscribe(topic, lambda _: None) for topic in self._carries]

    async def _stop_app(self) -> None:
        if self._has_app is not None:
            await self._has_app.stop()

    async def _hand_in(self, event: Event) -> None:
        handle = partial(self._machine.handle, event, self._clock.now())
        for effect in self._faults.around(event, handle):
            await self._carry_out(effect)

    async def _follow_keys(self, event: Event) -> None:
        """Hand in new keys of the owner, before an ``event`` that may be about them."""
        if isinstance(event, Started) or not self._keys.changed:
            return
        if (newer := await asyncio.to_thread(self._keys.newer)) is not None:
            kept = await asyncio.to_thread(self._durable.journal.kept_keys)
            await self._hand_in(KeysChanged(newer.signing_keys, newer.decryption_keys, tuple(grants_in(kept))))

    def _talker(self) -> Talker:
        """What asks members and hears their answers for this run."""
        newest = self._machine.newest

        def asked() -> list[bytes]:
            members = newest.manifest.members.values()
            return [each.id for each in members if is_asked(each) and each.id != newest.author.member]

        return Talker(asked, self._intake.told, self._report, self._named_by_admins, self._judges_pubsub)

    def _judges_pubsub(self) -> bool:
        return self._durable.role is not Role.SERVER or isinstance(self._machine.state, LeaderState)

    def _named_by_admins(self) -> tuple[str, ...]:
        """The addresses that we dial, without those that members announced: else each of them could name some, and ask
        what is there."""
        return (*self._machine.newest.manifest.addresses, *self._home.addresses)

    @property
    def _max_content_bytes(self) -> int:
        return self._machine.newest.manifest.settings.max_content_bytes

    def _report(self, report: Report) -> None:
        """Report from any thread, in the event loop."""
        self._loop.call_soon_threadsafe(self._on_report, report)

    @property
    def _is_over(self) -> bool:
        return self._ending is not None

    def _end(self, ending: Ending) -> None:
        """Set how this ends, unless that is set already."""
        self._ending = self._ending or ending

    def _current(self, event: Event | _FromApp) -> Event | None:
        """The event; None if it is from an old app process."""
        if not isinstance(event, _FromApp):
            return event
        return event.event if event.generation == self._app.generation else None

    def close_run(self, why: str) -> None:
        """Have the leader close its run. Call this in the event loop."""
        self._events.put(ToClose(why))

    def hand_over(self, to: bytes) -> None:
        """Have the leader hand its run over to another server. Call this in the event loop."""
        self._events.put(ToHandOver(to))

    def interrupt(self) -> None:
        """Ask for a clean stop. Call this in the event loop, as a signal handler does."""
        if not self._interrupted:
            self._interrupted = True
            self._events.put(Stopping())

    def _close(self, subscriptions: Sequence[Subscription]) -> None:
        """Finish what has begun, such as a goodbye or a record on its way to disk, and close everything."""
        self._retries.lose()
        impatience = threading.Timer(STOP_SECONDS, self._engine.hang_up)
        impatience.start()
        if self._asking is not None:
            self._asking.leave(self._place)
        for subscription in subscriptions:
            subscription.close()
        self._asks.close()
        self._threads.close()
        impatience.cancel()

    # -- effects ----------------------------------------------------------------------------------------------------

    async def _carry_out(self, effect: Effect) -> None:
        match effect:
            case StartApp(app, as_recorded):
                await self._app.stop()  # its folder is replaced now
                folder = await asyncio.to_thread(self._apps.to_run, app)
                await self._tell_lacking(app, folder)
                environment = None if as_recorded is None else self._environment_of(as_recorded)
                await self._app.start(folder, own_environment=environment)
                for asked in self._to_examine.values():
                    self._app.hand(asked)
            case Examine():
                self._examine(effect)
            case Hand(value):
                self._faults.around(effect, partial(self._app.hand, value))
            case WakeAt(at):
                self._wake_at(at)
            case PassOn(by, data, subject):
                if self._asking is not None:
                    self._asking.said(self._place, subject, data, by)
            case Report():
                self._on_report(effect)
            case Stop(why, cause):
                self._end(Ending(why, cause, self._fix_of(cause)))
            case _:
                self._begin(effect)

    def _examine(self, asked: Examine) -> None:
        """Have the app process examine a reply, once its root block is stored if that came with its record."""
        if asked.root is not None:
            self._place_first(asked.root, partial(self._examine, replace(asked, root=None)))
            return
        self._to_examine[asked.id] = asked
        self._faults.around(asked, partial(self._app.hand, asked))

    def _place_first(self, root: Block, then: Callable[[], None]) -> None:
        """Have the root block of a content stored, and call ``then`` in the event loop."""

        def done(future: Future[None]) -> None:
            if future.cancelled():
                return
            if (error := future.exception()) is not None:
                self._loop.call_soon_threadsafe(self._crash, error)
            else:
                self._loop.call_soon_threadsafe(then)

        self._threads.placing.submit(self._asks.place_root, root).add_done_callback(done)

    def _environment_of(self, recorded: AsRecorded) -> dict[str, str]:
        machine = machine_of(self._python)
        return server_environment(recorded.seed, recorded.threads, recorded.numerics, machine)

    async def _tell_lacking(self, app: CID, folder: Path) -> None:
        """Report once which packages an app needs that are missing, before it fails."""
        if app in self._looked_at:
            return
        self._looked_at.add(app)
        if lacks := await asyncio.to_thread(lacking, folder):
            self._on_report(Report(What.APP_LACKS, {"lacks": ", ".join(lacks)}))

    def _begin(self, effect: BackgroundEffect) -> None:
        match effect:
            case (
                Store(id=id)
                | WriteHead(id=id)
                | KeepReply(id=id)
                | KeepProof(id=id)
                | KeepAcks(id=id)
                | KeepVote(id=id)
            ):
                self._in_background(effect, partial(self._keep, effect), id)
            case KeepManifest() | KeepPlace() | KeepWatched() | KeepWhole() | AskOwner():
                self._in_background(effect, partial(self._keep, effect), None)
            case FetchRecord(id=id):
                self._in_background(effect, partial(self._asks.fetch_record, effect), id)
            case FetchContent(id=id):
                self._in_background(effect, partial(self._asks.fetch_content, effect, self._max_content_bytes), id)
            case UnpackApp(id=id) | ReadBundle(id=id):
                self._in_background(effect, partial(self._asks.fetch_app, effect), id)
            case PinRun(id=id):
                self._in_background(effect, partial(self._asks.pin_run, effect), id)
            case Publish(topic, data, subject):
                if self._asking is not None:
                    self._asking.said(self._place, subject, data)
                self._in_background(effect, partial(self._asks.publish, topic, data), None)
            case Connect(addresses):
                self._in_background(effect, partial(self._asks.connect, addresses), None)

    def _in_background(self, effect: BackgroundEffect, work: Callable[[], Event | None], id: int | None) -> None:
        """Do ``work``, which is the ``effect``, in its pool. Hand in the event it returns, or `Failed` if it raises."""

        def done(future: Future[Event | None]) -> None:
            if future.cancelled():
                return
            error = future.exception()
            if error is None:
                event = future.result()
            elif isinstance(error, EngineError | PeerError | BlockError | OSError) and id is not None:
                event = Failed(id, str(error))
            else:
                self._loop.call_soon_threadsafe(self._crash, error)
                return
            if event is not None:
                self._loop.call_soon_threadsafe(self._events.put, event)

        self._threads.of(effect).submit(self._faults.around, effect, work).add_done_callback(done)

    def _crash(self, error: BaseException) -> None:
        """End because of a bug of ours, or a manifest that cannot be kept."""
        logs.event("crashed", logging.ERROR, error=f"{type(error).__name__}: {error}")
        if isinstance(error, EngineError | PeerError):
            self._end(Ending(str(error), fix=error.fix))
        else:
            self._end(Ending(f"{type(error).__name__}: {error}"))
        self.interrupt()

    def _fix_of(self, cause: StopCause) -> str:
        """How to fix that something could not be kept, by the engine's or the home's error; or that the run which is
        led is contradicted."""
        failure, run = self._durable_failure, self._machine.status(self._clock.now()).run
        if cause is StopCause.MEANS and isinstance(failure, EngineError | PeerError):
            return failure.fix
        if cause is StopCause.DISPUTE and run is not None:
            goes_on = "" if run.closed else ", and this run goes on when it is started again"
            return (
                f"find out who is wrong: peer dispute {run.run.label} -o dispute.car, then peer audit dispute.car. If "
                f"it is the other server, an admin takes it out (peer federation remove NAME){goes_on}"
            )
        return ""

    def _keep(self, effect: Durable) -> Event | None:
        """Carry out one durable effect. None after one has failed, so that no head is kept without its record."""
        if self._durable_failure is not None:
            raise EngineError(f"a step before this one failed: {self._durable_failure}")
        try:
            self._retries(lambda: self._durable.carry_out(effect))
        except (EngineError, PeerError, BlockError, OSError) as error:
            self._durable_failure = error
            raise
        if isinstance(effect, WriteHead | KeepWhole):  # before another exchange may begin
            if self._durable.role is not Role.KEEPER:  # it takes part in one run after the other
                self._upkeep.left(self._grow - {effect.run})
                self._grow.clear()
            self._grow.add(effect.run)
            self._tell_room(self._upkeep.wrote(effect.run))
        unanswered = KeepManifest | KeepPlace | KeepWatched | KeepWhole | AskOwner
        return None if isinstance(effect, unanswered) else Done(effect.id)

    def _tell_room(self, no_room: str) -> None:
        """Called in any thread."""
        if no_room != self._no_room:
            self._no_room = no_room
            self._loop.call_soon_threadsafe(self._events.put, RoomChanged(no_room))

    async def _watch_room(self) -> None:
        """Hand in that the owner has made room, or has taken some."""
        while True:
            self._tell_room(await asyncio.to_thread(self._upkeep.look))
            await asyncio.sleep(ROOM_POLL)

    async def _stay_connected(self) -> None:
        while True:
            addresses = (*self._named_by_admins(), *self._machine.known_addresses)
            await self._loop.run_in_executor(self._threads.staying_connected, self._asks.connect, addresses)
            await asyncio.sleep(STAY_CONNECTED)

    async def _listen(self) -> None:
        """Tell the machine regularly that others can reach us, as long as the engine answers."""
        while True:
            if await self._loop.run_in_executor(self._threads.listening, self._asks.hears):
                self._events.put(EngineAnswered())
            await asyncio.sleep(LISTEN_EVERY)

    def _wake_at(self, at: float) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
        self._alarm = self._loop.call_later(max(0.0, at - self._clock.now()), self._events.put, Due())

    # -- events -----------------------------------------------------------------------------------------------------

    def _received(self, event: Received) -> None:
        """Called in a thread of the engine."""
        self._loop.call_soon_threadsafe(self._events.put, event)

    async def _heard(self, value: FromApp) -> None:
        """Take what the app process says. Nothing more is read from it until this is done."""
        match value:
            case AppReady() | Answered():
                self._from_app(value)
            case Examined(id) | Failed(id):
                if self._to_examine.pop(id, None) is not None:
                    self._events.put(value)
            case Progress(text):
                self._tell_progress(text)
            case Halted(why, fix):  # such as a full disk, which is not the app's error
                self._app.may_end()
                self._end(Ending(f"the app's process had to stop: {why}", fix=fix))
                self.interrupt()
            case Replayed() if isinstance(self._machine.state, LeaderState):  # its script goes live
                self._lost("it ended with its script")
            case _:
                if isinstance(value, Finished | Diverged | Replayed):
                    self._app.may_end()
                self._from_app(AppCalled(value))
        await self._events.room()

    def _tell_progress(self, text: str) -> None:
        """Tell people, unless they were told too much in the last second."""
        now = self._loop.time()
        if len(self._told) < MOST_TOLD or now - self._told[0] >= 1.0:
            self._told.append(now)
            self._on_report(Report(What.APP_PROGRESS, {"text": text[:LONGEST_TOLD]}))

    def _lost(self, why: str) -> None:
        self._from_app(AppLost(why))

    def _from_app(self, event: Event) -> None:
        self._events.put(_FromApp(self._app.generation, event))

    async def _watch_home(self) -> None:
        """Hand in what `peer federation` and `peer app` change in this home meanwhile."""
        while True:
            await asyncio.sleep(HOME_POLL)
            for event in await self._looked_at_home():
                self._events.put(event)

    async def _looked_at_home(self) -> list[ManifestChanged | AppsApproved]:
        return await asyncio.to_thread(self._home.look, self._machine.newest.manifest)

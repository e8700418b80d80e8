"""A running peer. It holds runs, one or many, and answers at its control socket.

`peer start` is a peer with one run, `peer serve` one whose runs come and go. Both are this.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Final, Protocol

from crypto.symmetric import SymmetricKey
from peer.apps.app_process import AppCommand
from peer.apps.block_server import ServedEngine
from peer.base.errors import PeerError
from peer.base.interrupts import Interrupts
from peer.control.answering import answering
from peer.control.requests import (
    AboutJob,
    CancelJob,
    ClosingRun,
    HandingOver,
    JobDone,
    LeadRun,
    Request,
    ResumeRun,
    RunJob,
    Status,
    StopRun,
    TakeUpJob,
    Told,
)
from peer.desk.letting_in import letting_in
from peer.desk.passing_on import passing_on
from peer.engine import without_credentials
from peer.erasure.while_running import erasing
from peer.home.federations import FederationStore
from peer.home.home import Home
from peer.home.home_location import location_of
from peer.home.journal import Journal, RunHead
from peer.keeping.upkeep import Upkeep
from peer.membership.changes import find_member
from peer.run.asking import SharedAsking, Talker
from peer.run.durable_effects import DurableEffects
from peer.run.run_book import RunBook
from peer.run.runner import Ending, Runner
from peer.run.session import Session
from peer.status.health_watch import HealthWatch
from peer.status.peer_status import FederationStatus, Part, PeerStatus
from peer.status.recent_trouble import RecentTrouble
from protocol.blocks.cid import CID
from protocol.federation.readers import Reader
from protocol.records.bodies import Role
from protocol.roles.effects import Report
from protocol.roles.leader.leader_states import LeaderState
from protocol.roles.server.running_role import RunningRole
from protocol.roles.server.server import Server
from protocol.run_names import SHOWN
from protocol.visible import named
from protocol.wire.asking import Channel

_DESK: Final = 0
"""The place of what takes part in asking for no run; runs have places from 1."""

STOPPED_BY_OWNER: Final = "the owner of the server stopped it"
"""Why a run is closed from outside, in its record."""

SHOWN_EVERY: Final = 1.0
"""Seconds between two statuses on a terminal."""


@dataclass(frozen=True, slots=True)
class AppPlace:
    """How the app process of a role is started."""

    environment: Mapping[str, str]
    """Variables for it."""
    works_in: Path
    """Where the app works (`AppCommand`)."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """A role of one member in one federation, ready to run."""

    session: Session
    machine: RunningRole
    role: Role
    topics: Sequence[str]
    app: AppPlace | None
    """None if the role has no app process."""
    carries: Sequence[str] = ()
    """Topics that the engine passes on for others."""
    job: int | None = None
    """The number of the job whose run it is."""


@dataclass(slots=True)
class Held:
    """A role that runs now."""

    prepared: Prepared
    runner: Runner
    place: int
    """Tells it from what runs beside it."""
    since: float
    health: HealthWatch
    trouble: RecentTrouble = field(default_factory=RecentTrouble)

    def part(self, now: float) -> Part:
        """What it does ``now``. Call it in the event loop."""
        machine, session = self.prepared.machine, self.prepared.session
        manifest = machine.newest.manifest
        return Part(
            identity=session.identity.name,
            federation=FederationStatus(manifest.federation, manifest.name, manifest.version),
            role=machine.status(now),
            since=self.since,
            trouble=self.trouble.newest(),
        )


class JobDesk(Protocol):
    """Takes jobs (`peer.jobs.job_server`)."""

    async def asked(self, request: AboutJob) -> JobDone:
        """Do what is asked about a job, and tell the result. Raises PeerError."""


class Peer:
    """Holds what runs in this process, with one home."""

    def __init__(self, home: Home, interrupts: Interrupts) -> None:
        self._home = home
        self._interrupts = interrupts
        self._held: list[Held] = []
        self._since = time.time()
        self._is_stopping = False
        self._desks: list[Session] = []
        """Of the federations that it is here for."""
        self._askings: dict[tuple[CID, bytes], SharedAsking] = {}
        self._upkeeps: dict[str, Upkeep] = {}
        self.jobs: JobDesk | None = None
        """What takes jobs, if this peer does."""
        self.waits: tuple[str, ...] = ()
        """What waits for the owner (`PeerStatus.waits`), if somebody looks."""
        self.stopped = asyncio.Event()
        """Set once the peer is to stop."""
        self._show: Callable[[PeerStatus], None] | None = None

    @contextlib.asynccontextmanager
    async def standing(self, show: Callable[[PeerStatus], None] | None = None) -> AsyncIterator[None]:
        """Be here, until the context ends: stop in order if a signal comes, and answer at the control socket. ``show``
        is called each second with the status."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self.interrupt)
        if self._interrupts.came:
            self.interrupt()
        self._show = show
        showing = None if show is None else loop.create_task(self._keep_showing(show))
        try:
            async with answering(self._home, self._answer):
                yield
        finally:
            if showing is not None:
                showing.cancel()

    async def _keep_showing(self, show: Callable[[PeerStatus], None]) -> None:
        while True:
            show(self.status())
            await asyncio.sleep(SHOWN_EVERY)

    async def hold(self, prepared: Prepared) -> Ending:
        """Run a role to its end, or until the peer is interrupted.

        Raises:
            PeerError: if its app's log cannot be written.
        """
        held: Held

        book = RunBook(prepared.session.journal)

        def reported(report: Report) -> None:
            held.trouble.take(report, time.time())
            book.note(report)
            prepared.session.on_report(report)

        place = self._free_place()
        runner = self._runner(prepared, place, reported)
        health = HealthWatch(prepared.session.engine, self._home.path)
        held = Held(prepared, runner, place, time.time(), health)
        with health.watching():
            self._held.append(held)
            try:
                if self._is_stopping:
                    runner.interrupt()
                return await runner.run()
            finally:
                if self._show is not None:
                    self._show(self.status())  # how it ended
                self._held.remove(held)
                await asyncio.to_thread(book.close)

    def interrupt(self) -> None:
        """Stop everything in order. Call this in the event loop, as a signal handler does."""
        self._is_stopping = True
        self.stopped.set()
        for held in self._held:
            held.runner.interrupt()

    # -- what others ask --------------------------------------------------------------------------------------------

    async def _answer(self, request: Request) -> Told:
        match request:
            case Status():
                return self.status()
            case StopRun(run=run):
                return self._stop_run(run)
            case LeadRun(run=run, to=to):
                return await self._have_led(run, to)
            case RunJob() | CancelJob() | TakeUpJob() | ResumeRun() if self.jobs is not None:
                return await self.jobs.asked(request)
            case _:
                raise PeerError(
                    f"the peer that runs with the home {self._home.path} takes no jobs",
                    fix="stop it, and start one that does: peer serve",
                )

    def _stop_run(self, run: str) -> ClosingRun:
        """Close a run that is led here."""
        fix = "only the server that leads a run closes it; to go on with one that was left open: peer resume RUN"
        held, cid = self._led(run, fix)
        held.runner.close_run(STOPPED_BY_OWNER)
        return ClosingRun(cid)

    async def _have_led(self, run: str, to: str) -> HandingOver:
        """Have another server lead a run: by our own word if it is led here, otherwise by an admin's."""
        if (led := self._leading(run)) is not None:
            return self._hand_over(*led, to)
        if (session := self._session_of(run)) is None:
            raise PeerError(
                f"the peer that runs with the home {self._home.path} is in no federation with the run {run[:SHOWN]}",
                fix="ask in a home of an admin of its federation: peer lead RUN --to NAME",
            )
        from peer.roles.appointing import appointing  # it needs what this module has

        made = await asyncio.to_thread(appointing, session, CID.parse(run), to)
        appointed = made.appointed(await self.hold(made.prepared))
        return HandingOver(made.run, appointed.name, appointed.term)

    def _session_of(self, run: str) -> Session | None:
        """That of the run's federation; if this home does not know the run, the only one there is."""
        sessions = {each.federation: each for each in self._desks}
        with Journal(self._home.journal) as journal:
            known = journal.head_of(CID.parse(run))
        if known is not None:
            return sessions.get(known.federation)
        return next(iter(sessions.values())) if len(sessions) == 1 else None

    def _hand_over(self, held: Held, cid: CID, to: str) -> HandingOver:
        """Hand a run that is led here over to another server: the one named ``to``, or the best that stands by."""
        machine = held.prepared.machine
        manifest = machine.newest.manifest
        best = machine.best_standby() if isinstance(machine, Server) and not to else None
        if best is None and not to:
            raise PeerError(
                "no other server stands by that could lead it",
                fix="start one: peer start --role server --standby; or name one that may be heard by others alone: "
                "peer lead RUN --to NAME",
            )
        member = find_member(manifest, to) if best is None else manifest.members[best]
        name = manifest.name_of(member.id)
        if Role.SERVER not in member.roles or member.id == machine.newest.author.member:
            raise PeerError(f"{name} is no other server of the federation", fix="peer federation show lists them")
        held.runner.hand_over(member.id)
        return HandingOver(cid, name)

    def _led(self, run: str, fix: str) -> tuple[Held, CID]:
        """What leads a run here, and the run."""
        if (led := self._leading(run)) is not None:
            return led
        runs = (held.prepared.machine.status(time.time()).run for held in self._held)
        leader = next(
            (f": {named(each.leader)} does" for each in runs if each and str(each.run) == run and each.leader), ""
        )
        home = self._home.path
        raise PeerError(f"the peer that runs with the home {home} does not lead the run {run[:SHOWN]}{leader}", fix=fix)

    def _leading(self, run: str) -> tuple[Held, CID] | None:
        """As `_led`; None if nothing does."""
        for held in self._held:
            theirs = held.prepared.machine.status(time.time()).run
            leads = isinstance(held.prepared.machine.state, LeaderState)
            if theirs is not None and str(theirs.run) == run and leads:
                return held, theirs.run
        return None

    def stop_job(self, number: int) -> bool:
        """Close the run of a job, or end it if it has not begun. Returns whether the job is held here."""
        held = next((held for held in self._held if held.prepared.job == number), None)
        if held is not None:
            held.runner.close_run(STOPPED_BY_OWNER)
        return held is not None

    def status(self) -> PeerStatus:
        """What this peer does now. Call it in the event loop."""
        now = time.time()
        engines = sorted({without_credentials(held.prepared.session.engine_name) for held in self._held})
        return PeerStatus(
            home=str(self._home.path),
            at=now,
            running=True,
            pid=os.getpid(),
            since=self._since,
            engine=", ".join(engines),
            parts=tuple(held.part(now) for held in self._held),
            health=next((held.health.newest for held in self._held), None),
            waits=self.waits,
        )

    # -- below ------------------------------------------------------------------------------------------------------

    def _free_place(self) -> int:
        taken = {held.place for held in self._held}
        return next(place for place in count(1) if place not in taken)

    @contextlib.asynccontextmanager
    async def desk(self, session: Session) -> AsyncIterator[None]:
        """Be the desk of the home's member until the context ends: destroy the keys of what is shredded. If it is an
        admin, let newcomers in, and pass proposals on."""
        self._desks.append(session)
        async with letting_in(session), passing_on(session, self._asking(session)), erasing(session):
            yield

    @contextlib.contextmanager
    def taking_jobs(
        self, session: Session, take: Callable[[bytes], bytes | None], tell: Callable[[bytes], bytes | None]
    ) -> Iterator[None]:
        """Be asked for jobs, and about them, in the federation of ``session``, whether or not something runs in it."""
        asking = self._asking(session)
        if asking is None:
            yield
            return
        asking.take_job, asking.tell_job = take, tell
        asking.join(_DESK, Talker(lambda: (), lambda _: False, session.on_report, lambda: ()))
        try:
            yield
        finally:
            asking.leave(_DESK)

    def _upkeep_of(self, session: Session) -> Upkeep:
        """One for all runs of this process in an engine: they share a budget."""
        address = session.engine.address
        if address not in self._upkeeps:
            journal = session.journal

            def reader(head: RunHead) -> Reader:
                return session.reader(journal.beside(head.run))

            self._upkeeps[address] = Upkeep(self._home, session.engine, journal, reader)
        return self._upkeeps[address]

    def _asking(self, session: Session) -> SharedAsking | None:
        """What asks members; None if the engine loses no announcements."""
        streams, member, federation = session.engine.streams, session.identity.id, session.federation
        if streams is None:
            return None
        if (federation, member) not in self._askings:
            own = Channel(federation, member, SymmetricKey(session.stored().swarm_key))
            self._askings[federation, member] = SharedAsking(streams, own)
        return self._askings[federation, member]

    def _runner(self, prepared: Prepared, place: int, reported: Callable[[Report], None]) -> Runner:
        session, role = prepared.session, prepared.role
        command = None if prepared.app is None else self._command(prepared, prepared.app)
        durable = DurableEffects(
            engine=session.engine,
            journal=session.journal,
            federations=FederationStore(session.home),
            federation=session.federation,
            role=role,
            engine_name=session.engine_name,
            place=location_of(session.home.path),
            job=prepared.job,
        )
        return Runner(
            prepared.machine,
            session.engine,
            durable,
            command,
            prepared.topics,
            home=session.home,
            keys=session.keys.again(),
            asking=self._asking(session),
            upkeep=self._upkeep_of(session),
            place=place,
            carries=prepared.carries,
            on_report=reported,
        )

    def _command(self, prepared: Prepared, app: AppPlace) -> AppCommand:
        session, role = prepared.session, prepared.role
        log, limit = session.home.app_log(role), prepared.machine.newest.manifest.settings.max_content_bytes
        _try_log(log)
        return AppCommand(
            role=role,
            works_in=app.works_in,
            contents=session.engine.address if session.confiner is None else ServedEngine(session.engine, limit),
            log=log,
            run_log=session.home.run_log,
            environment=app.environment,
            python=session.computing.python,
            confiner=session.confiner,
        )


def run_alone(prepared: Prepared, show: Callable[[PeerStatus], None] | None = None) -> Ending:
    """Run one role, and nothing else, to its end. ``show`` is called each second with the status."""

    async def alone() -> Ending:
        peer = Peer(prepared.session.home, prepared.session.interrupts)
        async with peer.standing(show), peer.desk(prepared.session):
            return await peer.hold(prepared)

    return asyncio.run(alone())


def _try_log(log: Path) -> None:
    """Raise `PeerError` if the app's log cannot be written."""
    try:
        (log.parent / "runs").mkdir(parents=True, exist_ok=True)
        log.open("ab").close()
    except OSError as error:
        raise PeerError(
            f"the app's log {log} cannot be written: {error.strerror}",
            fix=f"give the peer's user the right to write there, or remove {log.parent}",
        ) from error

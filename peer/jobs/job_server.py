"""Runs the jobs of a standing server, one after another or side by side, as its limits allow.

A job is in the journal before whoever asked is told that it was accepted. Its run is kept with the job when the run's
first record is (`peer.home.kept_jobs.keep_run`). So after a crash each job has no run, and begins; or an open
one, and goes on; or a closed one, and is done. None is lost, and none begins twice.

A job that the machine fails (a full disk, an engine that is away) stays in the queue, which rests for a while: else one
bad hour would use up all that waits.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from crypto.errors import BadKey
from peer.apps.app_choice import AppChoice
from peer.apps.app_log import printed
from peer.apps.taken_apps import App, kept_app, take_app, taken_files
from peer.base import logs
from peer.base.errors import ExitCode, PeerError
from peer.control.requests import AboutJob, CancelJob, JobDone, ResumeRun, RunJob, TakeUpJob
from peer.engine.interface import EngineError
from peer.history.listed_runs import state_of_job
from peer.history.named_runs import cid_of
from peer.home.home import Home
from peer.home.journal import Journal, KnownRun, RunHead
from peer.home.kept_jobs import CANCELLED, KeptJob
from peer.jobs.settings import JobSettings, adopted, queued, with_settings
from peer.roles.leading import leading, resuming, seed_of
from peer.roles.serving import Serving
from peer.run.peer import Peer
from peer.run.runner import Ending
from peer.run.session import Session
from protocol.blocks.cid import CID, BlockError
from protocol.jobs.answer import MAX_LOG, MAX_WHY, JobAnswer, digest_of, seal_answer
from protocol.jobs.queue import Limits, Needs, Queued, to_begin, why_refused
from protocol.jobs.request import KEY_SIZE, JobRequest, NotTaken, WhyNot, author_of, read_question, read_request
from protocol.keeping.best import BestBy, BestError, parse_best
from protocol.keeping.plan import KeepPlan, PlanError, parse_plan
from protocol.records.bodies import RunConfig
from protocol.replies.closing_rule import ClosingError, ClosingRule, parse_closing
from protocol.roles.effects import StopCause
from protocol.roles.leader.run_plan import LeaderSettings
from protocol.run_names import SHOWN, why_no_name
from protocol.visible import named

RESTS: Final = (10.0, 60.0, 300.0, 900.0)
"""Seconds that the queue rests after each time that a job lacked its means. After one more the job is given up."""


class _NoMeans(Exception):
    """A job cannot go on because disk, engine or peers fail. That may pass."""


@dataclass(frozen=True, slots=True)
class _Taken:
    """An app that a job is to run, taken into the home, with the settings for it."""

    app: App
    run_config: RunConfig
    node_config: RunConfig


@dataclass(frozen=True, slots=True)
class _Said:
    """What is answered to a member, as `JobAnswer` has it."""

    number: int | None = None
    name: str = ""
    why: str = ""
    state: str = ""
    ended: bool = False
    run: CID | None = None
    log: bytes = b""
    log_next: int = 0


class JobServer:
    """The queue of one home. Its methods run in the event loop."""

    def __init__(
        self,
        peer: Peer,
        home: Home,
        journal: Journal,
        sessions: Mapping[CID, Session],
        limits: Limits,
        as_leader: LeaderSettings,
        tell: Callable[[str], None],
        accepted: Mapping[CID, frozenset[bytes]],
    ) -> None:
        """``sessions`` are the federations in which this home's member is a server. ``as_leader`` holds for each run;
        but how many clients it begins with, its job says. ``tell`` takes lines for people.
        ``accepted`` are the members, by federation, whose signed requests from other machines are taken."""
        self._peer = peer
        self._home = home
        self._journal = journal
        self._sessions = sessions
        self._limits = limits
        self._as_leader = as_leader
        self._tell = tell
        self._askers = accepted
        self._running: set[int] = set()
        """The numbers of the jobs that have begun and not ended."""
        self._refused: set[WhyNot] = set()
        """Why requests were not taken so far. Each reason is told once: anybody in the swarm may ask without end."""
        self._deciding = threading.Lock()
        """Held from a look at the queue to its change, so that no job begins that is given up meanwhile, and the places
        are counted right."""
        self._failures: Counter[int] = Counter()
        """How often each job lacked its means."""
        self._rests_until = 0.0
        """When the queue goes on, by the event loop's clock."""
        self._changed = asyncio.Event()
        self._loop = asyncio.get_running_loop()

    async def keep_going(self) -> None:
        """Run jobs until the peer stops. Runs that are open then go on the next time."""
        stopping, running = asyncio.create_task(self._peer.stopped.wait()), set[asyncio.Task[None]]()
        while not self._peer.stopped.is_set():
            self._changed.clear()
            rest = self._rests_until - self._loop.time()
            for job in await asyncio.to_thread(self._begin) if rest <= 0 else []:
                running.add(task := asyncio.create_task(self._run(job)))
                task.add_done_callback(running.discard)
            changed = asyncio.create_task(self._changed.wait())
            timeout = rest if rest > 0 else None
            await asyncio.wait([stopping, changed], timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
            changed.cancel()
        stopping.cancel()
        await asyncio.gather(*running)

    def _begin(self) -> list[KeptJob]:
        """The jobs that begin now. From here on they count as running."""
        with self._deciding:
            jobs = {job.number: job for job in self._open_jobs()}
            numbers = [each.number for each in to_begin(self._queue(jobs.values()), self._limits)]
            self._running.update(numbers)
        return [jobs[number] for number in numbers]

    def _open_jobs(self) -> list[KeptJob]:
        return [job for job in self._journal.jobs.all() if job.ended is None and job.federation in self._sessions]

    def _queue(self, jobs: Collection[KeptJob]) -> Iterator[Queued]:
        return (queued(job, is_running=job.number in self._running) for job in jobs)

    # -- one job ----------------------------------------------------------------------------------------------------

    async def _run(self, job: KeptJob) -> None:
        """Run one job to its end, or until the peer stops or the job lacks its means."""
        self._tell(f"{job.name}: begins" if job.run is None else f"{job.name}: goes on")
        try:
            why = await self._led(job)
        except PeerError as error:
            why = str(error)
        except (_NoMeans, EngineError, OSError) as error:
            why = self._rested(job, str(error))
        except Exception as error:  # noqa: BLE001  # a bug of ours in one job does not end the others
            logs.event("job-crashed", logging.ERROR, job=job.name, error=f"{type(error).__name__}: {error}")
            why = f"{type(error).__name__}: {error}"
        if why is not None:
            try:
                await asyncio.to_thread(self._journal.jobs.end, job.number, time.time(), why)
            except PeerError as error:  # it keeps its place, so nothing begins that could be kept no better
                self._tell(f"{job.name}: {error}; it goes on when this peer starts again")
                return
            self._tell(f"{job.name}: {f'not finished: {why}' if why else 'done'}")
        self._running.discard(job.number)
        self._changed.set()

    def _rested(self, job: KeptJob, why: str) -> str | None:
        """Have the queue rest, with the job in it; or why the job is given up, if that was done often enough."""
        self._failures[job.number] += 1
        if (failures := self._failures[job.number]) > len(RESTS):
            del self._failures[job.number]
            return why
        rest = RESTS[failures - 1]
        self._rests_until = self._loop.time() + rest
        self._tell(f"{job.name}: {why}; the queue rests for {rest:.0f} s, then it goes on")
        return None

    async def _led(self, job: KeptJob) -> str | None:
        """Lead the run of a job. Returns why it is not finished; empty if it is; None if the peer stops.

        Raises:
            _NoMeans, EngineError, OSError: if it could not go on for a reason that may pass.
        """
        led = await asyncio.to_thread(self._prepared, job)
        if led is None:
            return ""
        ending = await self._peer.hold(led.prepared)
        return await asyncio.to_thread(self._ended, led, ending)

    def _prepared(self, job: KeptJob) -> Serving | None:
        session, settings = self._sessions[job.federation], JobSettings.of(job)
        as_leader = replace(
            self._as_leader,
            min_clients=settings.min_clients,
            keep=parse_plan(settings.keep) if settings.keep else self._as_leader.keep,
            best_by=parse_best(settings.best) if settings.best else self._as_leader.best_by,
            closing=parse_closing(settings.closing) if settings.closing else self._as_leader.closing,
            witnesses=settings.witnesses or self._as_leader.witnesses,
        )
        if job.run is not None:
            return resuming(session, job.run, as_leader, job=job.number)
        return leading(
            session,
            kept_app(self._home, job.app),
            tuple(settings.run_config),
            tuple(settings.node_config),
            as_leader,
            seed=None if settings.seed is None else seed_of(settings.seed),
            initial=None,
            new_run=True,
            wait_for_members=None,
            job=job.number,
        )

    def _ended(self, led: Serving, ending: Ending) -> str | None:
        closed = led.closed()
        if closed is not None:
            self._journal.finish(closed.run)
            return ""
        if ending.interrupted:
            return None
        if ending.cause is StopCause.MEANS:
            raise _NoMeans(ending.why)
        return ending.why

    # -- what is asked ----------------------------------------------------------------------------------------------

    async def asked(self, request: AboutJob) -> JobDone:
        """Do what is asked about a job. When this returns, it is on disk."""
        job = await asyncio.to_thread(self._done, request)
        if isinstance(request, CancelJob) and job.ended is None and not self._peer.stop_job(job.number):
            raise PeerError(f"{job.name} begins just now", fix="ask again", code=ExitCode.UNFINISHED)
        self._changed.set()
        return JobDone(job.number, job.name, job.app, job.run)

    def _done(self, request: AboutJob) -> KeptJob:
        match request:
            case RunJob():
                return self._of_owner(request)
            case CancelJob(number=number):
                return self._cancelled(number)
            case TakeUpJob(number=number):
                return self._queued_again(number)
            case ResumeRun(run=run):
                return self._taken_up(run)

    def _of_owner(self, request: RunJob) -> KeptJob:
        session = self._session(request.federation)
        try:
            key = bytes.fromhex(request.key)
        except ValueError:
            key = b""
        if len(key) != KEY_SIZE:
            raise PeerError("a job's key is 32 hexadecimal digits", fix="leave out --key")

        def take() -> _Taken:
            choice = AppChoice(
                folder=Path(request.folder),
                shared={"min-clients": request.min_clients},
                local={},
                run_config=request.run_config,
                node_config=request.node_config,
            )
            app = take_app(self._home, choice.app_folder)
            config = choice.server_config(app.config)
            return _Taken(app, config, choice.local_config(config))

        return self._accepted(session, session.identity.id, key, request, take)

    def taken(self, federation: CID, signed: bytes) -> bytes | None:
        """Take a job that a member asks for on another machine. Safe to call in any thread. When this returns, it is on
        disk, or is not taken. Returns the answer for whoever asked; None if no member did."""
        return self._answered(federation, signed, self._taken_of_member)

    def told(self, federation: CID, signed: bytes) -> bytes | None:
        """How a job stands, for the member that asked for it. As `taken`."""
        return self._answered(federation, signed, self._about)

    def _answered(self, federation: CID, signed: bytes, answer: Callable[[CID, bytes], _Said]) -> bytes | None:
        session = self._sessions[federation]
        try:
            manifest = session.stored().manifest
            if (asker := author_of(signed, manifest)) is None:
                return None
            said = self._said(federation, signed, answer)
            answered = JobAnswer(
                federation=bytes(federation),
                by=session.identity.id,
                asked=digest_of(signed),
                number=said.number,
                name=said.name,
                why=said.why[:MAX_WHY],
                state=said.state,
                ended=said.ended,
                run=None if said.run is None else bytes(said.run),
                log=said.log,
                log_next=said.log_next,
            )
            return seal_answer(answered, session.author().key_in(manifest), asker, manifest)
        except (PeerError, BadKey) as error:
            logs.event("job-not-answered", logging.WARNING, why=str(error))
            return None

    def _said(self, federation: CID, signed: bytes, answer: Callable[[CID, bytes], _Said]) -> _Said:
        try:
            return answer(federation, signed)
        except NotTaken as error:
            level = logging.DEBUG if error.why in self._refused else logging.WARNING
            self._refused.add(error.why)
            logs.event("job-not-taken", level, why=str(error), reason=error.why.value)
            return _Said(why=str(error))
        except (PeerError, BlockError, OSError) as error:
            return _Said(why=str(error))

    def _taken_of_member(self, federation: CID, signed: bytes) -> _Said:
        job = self._of_member(federation, signed)
        self._loop.call_soon_threadsafe(self._changed.set)
        return _Said(job.number, job.name)

    def _about(self, federation: CID, signed: bytes) -> _Said:
        session = self._sessions[federation]
        question = read_question(signed, session.stored().manifest, session.identity.id, time.time())
        key = question.job_key()
        job = next((each for each in self._journal.jobs.all() if each.key == key), None)
        if job is None or job.federation != federation:
            return _Said(why="this server has no such job")
        head, known = (None, None) if job.run is None else self._about_run(job.run)
        said = _Said(
            job.number,
            job.name,
            job.why,
            state_of_job(job, head, known, is_running=job.number in self._running).value,
            ended=job.ended is not None,
            run=job.run,
        )
        if question.log_at is None or job.run is None:
            return said
        log, log_next = printed(self._home.run_log(job.run), question.log_at, MAX_LOG)
        return replace(said, log=log, log_next=log_next)

    def _about_run(self, run: CID) -> tuple[RunHead | None, KnownRun | None]:
        return self._journal.head_of(run), self._journal.known_runs().get(run)

    def _of_member(self, federation: CID, signed: bytes) -> KeptJob:
        session, accepted = self._sessions[federation], self._askers.get(federation, frozenset())
        request = read_request(signed, session.stored().manifest, session.identity.id, accepted, time.time())

        def take() -> _Taken:
            app = taken_files(self._home, request.files)
            return _Taken(app, with_settings(app.config, request.config), ())

        return self._accepted(session, request.by, request.job_key(), request, take)

    def _accepted(
        self, session: Session, asker: bytes, key: bytes, request: RunJob | JobRequest, take: Callable[[], _Taken]
    ) -> KeptJob:
        """Keep a job of the member ``asker``, unless one with this ``key`` is kept. Only then, and if there is room for
        it, is its app taken in."""
        needs = Needs(request.memory, request.gpus)
        keep, best, closing = _kept(request)
        witnesses = request.witnesses if isinstance(request, RunJob) else request.asked_witnesses or 0
        with self._deciding:
            if (known := next((job for job in self._journal.jobs.all() if job.key == key), None)) is not None:
                return known
            if request.name and (why := why_no_name(request.name)):
                fix = "give it another name: --name NAME"
                raise PeerError(f"a run cannot be called {named(request.name)}: {why}", fix=fix)
            if why := why_refused(self._queue(self._open_jobs()), asker, session.identity.id, needs, self._limits):
                fix = "peer ls shows what waits"
                raise PeerError(f"the job is not accepted: {why}", fix=fix, code=ExitCode.UNFINISHED)
            taken = take()
            settings = JobSettings(
                list(taken.run_config),
                list(taken.node_config),
                request.min_clients,
                request.seed,
                request.memory,
                request.gpus,
                str(keep or ""),
                str(best or ""),
                str(closing or ""),
                witnesses,
            )
            app, federation = taken.app, session.federation
            return self._journal.jobs.accept(
                key, asker, federation, app.id, app.config.name, request.name, settings.to_bytes(), time.time()
            )

    def _session(self, named: str | None) -> Session:
        known = [(each, each.stored()) for each in self._sessions.values()]
        fitting = [each for each, stored in known if named in (None, stored.manifest.name, str(stored.id))]
        if len(fitting) == 1:
            return fitting[0]
        names = ", ".join(stored.manifest.title for _, stored in known)
        raise PeerError(
            f"this peer is a server in {names}" if known else "this peer is a server in no federation",
            fix="say in which the run is to be: --federation NAME",
        )

    def _cancelled(self, number: int) -> KeptJob:
        """Give up a job that waits. One that has begun is returned as it is."""
        with self._deciding:
            job = next((job for job in self._open_jobs() if job.number == number), None)
            if job is None:
                raise PeerError("that job has ended", fix="peer ls shows how")
            if number in self._running:
                return job
            self._journal.jobs.end(number, time.time(), CANCELLED)
            return next(job for job in self._journal.jobs.all() if job.number == number)

    def _queued_again(self, number: int) -> KeptJob:
        """Have a job that was given up wait for its turn again."""
        with self._deciding:
            job = next((job for job in self._journal.jobs.all() if job.number == number), None)
            if job is None or job.federation not in self._sessions:
                raise PeerError("this peer has no such job", fix="peer ls shows its jobs")
            if number not in self._running:
                self._journal.jobs.take_up(number)
            return job

    def _taken_up(self, run: str) -> KeptJob:
        """Have a run that was left open go on: its job, or a new one."""
        head = self._journal.head_of(cid_of(run))
        if head is None or not self._journal.has_led(head) or head.federation not in self._sessions:
            raise PeerError(f"this peer has not led the run {run[:SHOWN]}", fix="peer ls shows its runs")
        if head.closed:
            raise PeerError(f"the run {run[:SHOWN]} is closed", fix=f"see it: peer history {run[:SHOWN]}")
        with self._deciding:
            job = next((job for job in self._journal.jobs.all() if job.run == head.run), None) or adopted(
                self._journal, head, self._sessions[head.federation].identity.id
            )
        return self._queued_again(job.number)


def _kept(request: RunJob | JobRequest) -> tuple[KeepPlan | None, BestBy | None, ClosingRule | None]:
    """What a request says of what stays, of what is marked, and of when an exchange closes early.

    Raises:
        PeerError: if it says it wrong.
    """
    if isinstance(request, JobRequest):
        return request.plan, request.best_by, request.closing_rule
    try:
        keep = parse_plan(request.keep) if request.keep else None
        best = parse_best(request.best) if request.best else None
        return keep, best, parse_closing(request.closing) if request.closing else None
    except (PlanError, BestError, ClosingError) as error:
        fix = "see --keep, --best, --min-replies and --round-deadline of peer run --help"
        raise PeerError(str(error), fix=fix) from error

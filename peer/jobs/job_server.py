"""Runs the jobs of a standing server, one after another or side by side, as its limits allow.

A job is in the journal before whoever asked is told that it was accepted. Its run is kept with the job when the run's
first record is (`peer.home.journal.Journal.keep_head`). So after a crash each job has no run, and begins; or an open
one, and goes on; or a closed one, and is done. None is lost, and none begins twice.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from peer.apps.app_choice import AppChoice
from peer.base import logs
from peer.base.errors import ExitCode, PeerError
from peer.control.requests import CancelJob, ResumeRun, RunJob
from peer.engine.interface import EngineError
from peer.home.federations import FederationStore
from peer.home.home import Home
from peer.home.journal import Journal, KeptJob, RunHead
from peer.jobs.settings import JobSettings, queued, with_settings
from peer.run.peer import Peer
from peer.run.runner import Ending
from peer.run.session import Session
from peer.run.start import Leading, kept_app, leading, resuming, seed_of, take_app, taken_files
from protocol.blocks.cid import CID, BlockError
from protocol.jobs.queue import Limits, Needs, to_begin, why_refused
from protocol.jobs.request import KEY_SIZE, NotTaken, ToldJob, read_request
from protocol.records.bodies import Role
from protocol.replies.checks_and_limits import Admission
from protocol.roles.leader.run_plan import LeaderSettings
from protocol.run_names import why_no_name

MAX_WHY: Final = 500
"""Characters of a reason that goes to another machine."""


@dataclass(frozen=True, slots=True)
class ServerDefaults:
    """What holds for each run of this server."""

    client_timeout: float
    leave_timeout: float
    admission: Admission

    def settings(self, min_clients: int) -> LeaderSettings:
        """For one run."""
        return LeaderSettings(
            min_clients=min_clients,
            client_timeout=self.client_timeout,
            leave_timeout=self.leave_timeout,
            admission=self.admission,
        )


class JobServer:
    """The queue of one home. Its methods run in the event loop."""

    def __init__(
        self,
        peer: Peer,
        home: Home,
        journal: Journal,
        sessions: Mapping[CID, Session],
        limits: Limits,
        defaults: ServerDefaults,
        tell: Callable[[str], None],
        accepted: Mapping[CID, frozenset[bytes]],
    ) -> None:
        """``sessions`` are the federations in which this home's member is a server. ``tell`` takes lines for people.
        ``accepted`` are the members, by federation, whose signed requests from other machines are taken."""
        self._peer = peer
        self._home = home
        self._journal = journal
        self._sessions = sessions
        self._limits = limits
        self._defaults = defaults
        self._tell = tell
        self._askers = accepted
        self._running: dict[int, asyncio.Task[None]] = {}
        self._changed = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._accepting = threading.Lock()
        """One job after the other, so that the places of the queue are counted right."""

    async def keep_going(self) -> None:
        """Run jobs until the peer stops. Runs that are open then go on the next time."""
        stopping = asyncio.create_task(self._peer.stopped.wait())
        while not self._peer.stopped.is_set():
            self._changed.clear()
            await self._begin_what_fits()
            changed = asyncio.create_task(self._changed.wait())
            await asyncio.wait([stopping, changed], return_when=asyncio.FIRST_COMPLETED)
            changed.cancel()
        stopping.cancel()
        await asyncio.gather(*self._running.values())

    async def _begin_what_fits(self) -> None:
        jobs = {job.number: job for job in await asyncio.to_thread(self._open_jobs)}
        queue = [queued(job, is_running=number in self._running) for number, job in jobs.items()]
        for each in to_begin(queue, self._limits):
            self._running[each.number] = asyncio.create_task(self._run(jobs[each.number]))

    def _open_jobs(self) -> list[KeptJob]:
        return [job for job in self._journal.jobs() if job.ended is None and job.federation in self._sessions]

    # -- one job ----------------------------------------------------------------------------------------------------

    async def _run(self, job: KeptJob) -> None:
        """Run one job to its end, or until the peer stops."""
        self._tell(f"{job.name}: begins" if job.run is None else f"{job.name}: goes on")
        try:
            why = await self._led(job)
        except (PeerError, EngineError, OSError) as error:
            why = str(error)
        except Exception as error:  # noqa: BLE001  # a bug of ours in one job does not end the others
            logs.event("job-crashed", logging.ERROR, job=job.name, error=f"{type(error).__name__}: {error}")
            why = f"{type(error).__name__}: {error}"
        if why is not None:
            await asyncio.to_thread(self._journal.end_job, job.number, time.time(), why)
            self._tell(f"{job.name}: {f'not finished: {why}' if why else 'done'}")
        del self._running[job.number]
        self._changed.set()

    async def _led(self, job: KeptJob) -> str | None:
        """Lead the run of a job. Returns why it is not finished; empty if it is; None if the peer stops."""
        led = await asyncio.to_thread(self._prepared, job)
        if led is None:
            return ""
        ending = await self._peer.hold(led.prepared)
        return await asyncio.to_thread(self._ended, led, ending)

    def _prepared(self, job: KeptJob) -> Leading | None:
        session, settings = self._sessions[job.federation], JobSettings.of(job)
        as_leader = self._defaults.settings(settings.min_clients)
        if job.run is not None:
            return resuming(session, job.run, as_leader, name=job.name, job=job.number)
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
            name=job.name,
            job=job.number,
        )

    def _ended(self, led: Leading, ending: Ending) -> str | None:
        closed = led.closed()
        if closed is not None:
            self._journal.finish(closed.run)
            return ""
        return None if ending.interrupted else ending.why

    def _adopted(self, head: RunHead) -> KeptJob:
        """A job for a run that began without one, as `peer start` does. Its app and settings are in its record."""
        known, owner = self._journal.known_runs().get(head.run), self._sessions[head.federation].identity.id
        settings = JobSettings([], [], min_clients=1, seed=None, memory=0, gpus=0)
        return self._journal.adopt_run(head, owner, known.app if known else "run", settings.to_bytes(), time.time())

    # -- what is asked ----------------------------------------------------------------------------------------------

    async def asked(self, request: RunJob | CancelJob | ResumeRun) -> dict[str, Any]:
        """Do what is asked about a job. When this returns, it is on disk."""
        job = await asyncio.to_thread(self._done, request)
        self._changed.set()
        return {"number": job.number, "name": job.name, "app": str(job.app), "run": job.run and str(job.run)}

    def _done(self, request: RunJob | CancelJob | ResumeRun) -> KeptJob:
        match request:
            case RunJob():
                return self._accepted(request)
            case CancelJob(number=number):
                return self._cancelled(number)
            case ResumeRun(run=run):
                return self._taken_up(run)

    def _accepted(self, request: RunJob) -> KeptJob:
        session = self._session(request.federation)
        if request.name and (why := why_no_name(request.name)):
            raise PeerError(f"a run cannot be called {request.name!r}: {why}", fix="give it another name: --name NAME")
        try:
            key = bytes.fromhex(request.key)
        except ValueError:
            key = b""
        if len(key) != KEY_SIZE:
            raise PeerError("a job's key is 32 hexadecimal digits")
        folder = Path(request.folder)
        choice = AppChoice(
            folder=folder,
            shared={"min-clients": request.min_clients},
            local={},
            run_config=request.run_config,
            node_config=request.node_config,
        )
        app = take_app(self._home, folder)
        config = choice.server_config(app.config)
        settings = JobSettings(
            list(config),
            list(choice.local_config(config)),
            request.min_clients,
            request.seed,
            request.memory,
            request.gpus,
        )
        owner, name = session.identity.id, app.config.name
        with self._accepting:
            self._refuse(owner, owner, Needs(request.memory, request.gpus))
            return self._journal.accept_job(
                key, owner, session.stored.id, app.id, name, request.name, settings.to_bytes(), time.time()
            )

    def taken(self, federation: CID, signed: bytes) -> ToldJob:
        """Take a job that a member asks for on another machine. Safe to call in any thread. When this returns, it is on
        disk, or is not taken."""
        try:
            job = self._signed(federation, signed)
        except NotTaken as error:
            logs.event("job-not-taken", logging.WARNING, why=str(error), reason=error.why.value)
            return ToldJob(None, "", str(error)[:MAX_WHY])
        except (PeerError, BlockError, OSError) as error:
            return ToldJob(None, "", str(error)[:MAX_WHY])
        self._loop.call_soon_threadsafe(self._changed.set)
        return ToldJob(job.number, job.name, "")

    def _signed(self, federation: CID, signed: bytes) -> KeptJob:
        session, stored = self._sessions[federation], FederationStore(self._home).get(federation)
        owner = session.identity.id
        if stored is None:
            raise PeerError("this peer is not in that federation any more")
        request = read_request(signed, stored.manifest, owner, self._askers.get(federation, frozenset()))
        with self._accepting:
            key = request.job_key()
            if (known := next((job for job in self._journal.jobs() if job.key == key), None)) is not None:
                return known
            if request.name and (why := why_no_name(request.name)):
                raise PeerError(f"a run cannot be called so: {why}")
            self._refuse(request.by, owner, Needs(request.memory, request.gpus))
            app = taken_files(self._home, request.files)
            config = with_settings(app.config, request.config)
            settings = JobSettings(list(config), [], request.min_clients, request.seed, request.memory, request.gpus)
            name = app.config.name
            return self._journal.accept_job(
                key, request.by, federation, app.id, name, request.name, settings.to_bytes(), time.time()
            )

    def _refuse(self, asker: bytes, owner: bytes, needs: Needs) -> None:
        queue = [queued(job, is_running=job.number in self._running) for job in self._open_jobs()]
        if why := why_refused(queue, asker, owner, needs, self._limits):
            raise PeerError(f"the job is not accepted: {why}", fix="peer ls shows what waits", code=ExitCode.UNFINISHED)

    def _session(self, named: str | None) -> Session:
        known = list(self._sessions.values())
        fitting = [each for each in known if named in (None, each.stored.manifest.name, str(each.stored.id))]
        if len(fitting) == 1:
            return fitting[0]
        names = ", ".join(each.stored.manifest.title for each in known)
        raise PeerError(
            f"this peer is a server in {names}" if known else "this peer is a server in no federation",
            fix="say in which the run is to be: --federation NAME",
        )

    def _cancelled(self, number: int) -> KeptJob:
        job = next((job for job in self._open_jobs() if job.number == number), None)
        if job is None or number in self._running:
            fix = "peer ls shows how it stands; peer stop closes its run"
            raise PeerError("that job does not wait any more", fix=fix)
        self._journal.end_job(number, time.time(), "its owner cancelled it")
        return job

    def _taken_up(self, run: str) -> KeptJob:
        """Have a run that was left open go on: its job, or a new one."""
        cid = CID.parse(run)
        head = self._journal.head_of(cid)
        if head is None or head.role is not Role.SERVER or head.federation not in self._sessions:
            raise PeerError(f"this peer has not led the run {run}", fix="peer ls shows its runs")
        if head.closed:
            raise PeerError(f"the run {run} is closed", fix=f"see it: peer history {run}")
        job = next((job for job in self._journal.jobs() if job.run == cid), None)
        if job is None:
            job = self._adopted(head)
        elif job.number not in self._running:
            self._journal.take_up_job(job.number)
        return job

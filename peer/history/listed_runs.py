"""The runs of a home, with what it tells its owner of each."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from peer.base.errors import PeerError
from peer.control.asking import ask
from peer.control.requests import Status
from peer.engine import without_credentials
from peer.home.federations import FederationStore
from peer.home.home import Home
from peer.home.journal import Journal, KnownRun, RunHead
from peer.home.kept_jobs import KeptJob
from protocol.blocks.cid import CID
from protocol.records.bodies import Outcome

SECONDS: Final = 2.0
"""How long the running peer may take to say what it does."""


class RunState(StrEnum):
    """How it stands with a run, or with a job."""

    WAITING = "waiting"
    """A job that has no run yet."""
    GIVEN_UP = "given up"
    """A job that has ended without a closed run."""

    RUNNING = "running"
    """The peer that runs with this home takes part in it now."""
    OPEN = "open"
    CLOSED = "closed"
    FAILED = "failed"
    """It is closed, because its app raised an error."""
    STOPPED = "stopped"
    """It is closed, because the server's owner wanted that."""


_ENDED: Final = {Outcome.RAISED.value: RunState.FAILED, Outcome.STOPPED.value: RunState.STOPPED}


@dataclass(frozen=True, slots=True)
class ListedRun:
    """One run."""

    head: RunHead
    known: KnownRun | None
    federation: str
    """What the owner sees of the federation's name; empty if this home is not in it."""
    is_running: bool
    role: str
    """As `peer.home.journal.Journal.part_in` says."""

    @property
    def name(self) -> str:
        """Its name here; empty if it has none, as runs of earlier versions and imported ones."""
        return self.known.name if self.known else ""

    @property
    def app(self) -> str:
        """Its app's name; empty if this home has not kept it."""
        return self.known.app if self.known else ""

    @property
    def round(self) -> int | None:
        """The newest round, if the app numbers them."""
        return self.known.round if self.known else None

    @property
    def outcome(self) -> str | None:
        """How it ended, if that is known without reading it."""
        return self.known.outcome if self.known and self.head.closed else None

    @property
    def began(self) -> float:
        """When this home first had to do with it, or when it last changed: seconds since 1970."""
        return self.known.began if self.known else self.head.updated

    @property
    def engine(self) -> str:
        """Where its blocks are."""
        return without_credentials(self.head.engine)

    @property
    def state(self) -> RunState:
        """How it stands with it."""
        return state_of(self.head, self.known, is_running=self.is_running)


def listed_runs(home: Home) -> list[ListedRun]:
    """The runs of a home, the one that changed last first."""
    if not home.journal.exists():
        return []
    with Journal(home.journal) as journal:
        heads, known = journal.heads(), journal.known_runs()
        roles = [journal.part_in(head) for head in heads]
    titles = {stored.id: stored.manifest.title for stored in FederationStore(home).all()}
    running = _running(home) if any(not head.closed for head in heads) else frozenset()
    return [
        ListedRun(head, known.get(head.run), titles.get(head.federation, ""), head.run in running, role)
        for head, role in zip(heads, roles, strict=True)
    ]


@dataclass(frozen=True, slots=True)
class ListedJob:
    """A job: a run that was asked for."""

    job: KeptJob
    run: ListedRun | None
    """Its run, if it has begun."""
    federation: str
    """As in `ListedRun`."""

    @property
    def state(self) -> RunState:
        """How it stands with it."""
        run = self.run
        if run is None:
            return state_of_job(self.job, None, None, is_running=False)
        return state_of_job(self.job, run.head, run.known, is_running=run.is_running)


def state_of_job(job: KeptJob, head: RunHead | None, known: KnownRun | None, *, is_running: bool) -> RunState:
    """How it stands with a job, whose run has this ``head``, if it has begun."""
    if head is not None and head.closed:
        return state_of(head, known, is_running=is_running)
    if job.ended is not None:
        return RunState.GIVEN_UP
    return RunState.WAITING if head is None else state_of(head, known, is_running=is_running)


def state_of(head: RunHead, known: KnownRun | None, *, is_running: bool) -> RunState:
    """How it stands with a run of which this is known."""
    if head.closed:
        return _ENDED.get((known.outcome if known else None) or "", RunState.CLOSED)
    return RunState.RUNNING if is_running else RunState.OPEN


def listed_jobs(home: Home) -> list[ListedJob]:
    """The jobs of a home, in the order of acceptance."""
    if not home.journal.exists():
        return []
    with Journal(home.journal) as journal:
        jobs = journal.jobs.all()
    if not jobs:
        return []
    runs = {run.head.run: run for run in listed_runs(home)}
    titles = {stored.id: stored.manifest.title for stored in FederationStore(home).all()}
    return [
        ListedJob(job, None if job.run is None else runs.get(job.run), titles.get(job.federation, "")) for job in jobs
    ]


def _running(home: Home) -> frozenset[CID]:
    try:
        said = ask(home, Status(), SECONDS)
        parts = () if said is None else said.parts
    except PeerError:
        return frozenset()
    return frozenset(part.role.run.run for part in parts if part.role.run is not None)

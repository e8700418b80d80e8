"""The app of a client's run: may it run here, is it here, and does its process have its run.

Code is never run because a record names it. An app is the one that the owner named, or one that the owner approved; an
unknown one waits for that, if the owner left it open, and nothing of it is even unpacked before.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum, auto
from functools import partial
from typing import Final

from protocol.app.calls import Start
from protocol.blocks.bundle import NamedBundle, difference_from
from protocol.blocks.cid import CID, BlockError, MemoryBlocks
from protocol.federation.manifest import node_id
from protocol.federation.readers import read_private
from protocol.pacing.backoff import Backoff
from protocol.records.bodies import Run, RunConfig, RunPrivate
from protocol.roles.catch_up import CatchUp
from protocol.roles.client.client_states import ClientState
from protocol.roles.client.taking_part import TakingPart
from protocol.roles.effects import AskOwner, Cause, Hand, ReadBundle, StartApp, UnpackApp, What
from protocol.roles.events import AppReady, AppsApproved
from protocol.roles.leader.run_plan import named_bundle
from protocol.roles.machine import Machine
from protocol.roles.waiting import Awaited

STARTS: Final = 3
"""How often in a row the app process may be lost before it is ready."""


class AppState(Enum):
    """Where the client's app process is."""

    ABSENT = auto()
    """No app is chosen yet."""
    STARTING = auto()
    READY = auto()
    STARTED = auto()
    """It has its run."""
    LOST = auto()
    """It was lost with its run and no message in hand, as one that cannot be loaded is. A message starts another."""


_TOLD: Final = frozenset({AppState.STARTED, AppState.LOST})
"""Its process was given its run."""


@dataclass(frozen=True, slots=True)
class ClientPlan:
    """The owner's choices. ``secret`` (32 bytes) seeds the app and stays with this peer."""

    app: CID | None
    """The app (its id, `protocol.blocks.bundle`) that is started at once, before a run is known; None for none."""
    secret: bytes = field(repr=False)
    node_config: RunConfig = ()
    once: bool = False
    """Stop after the first run that closes."""
    approved: frozenset[CID] | None = None
    """The apps that may run besides; others wait for approval. None if the owner lets ``app`` alone run."""
    unfit: Callable[[CID, RunConfig], str] = lambda _app, _config: ""
    """Why an app cannot run here, with this ``node_config``, in a run with those settings; empty if it can."""
    files: Sequence[tuple[str, bytes]] = field(default=(), repr=False)
    """Of ``app``, the paths and bytes: if a run is of another, it is said in which files."""


@dataclass(frozen=True, slots=True)
class _Wanted:
    """The app of the run that is followed."""

    run: CatchUp
    bundle: NamedBundle
    private: RunPrivate


class AppHost:
    """Chooses, unpacks and starts the run's app."""

    def __init__(self, plan: ClientPlan, part: TakingPart, machine: Machine[ClientState]) -> None:
        self._plan = plan
        self._part = part
        self._machine = machine
        self._outbox = machine.outbox
        self._approved = plan.approved
        self._unread: Run | None = None
        """The run record, if it is encrypted for others so far."""
        self._wanted: _Wanted | None = None
        self._unpack_again: Backoff | None = None
        self.process = AppState.ABSENT
        self._hosted: CID | None = None
        """The app of the process there is."""
        self._failed_starts = 0

    @property
    def awaited(self) -> Awaited | None:
        """What is not here for us to take part in the run."""
        follows = self._machine.state is ClientState.FOLLOWING
        if self._wanted is None or not follows or self.process in _TOLD:
            return None
        return Awaited.APP if self._wanted.bundle.app == self._hosted else Awaited.APP_FILES

    def leave(self) -> None:
        """The run is over, or another is followed: its app is not needed, a process that had it begins afresh."""
        self._wanted = self._unpack_again = None
        if self.process in _TOLD:
            self.start_again()

    # -- may it run -------------------------------------------------------------------------------------------------

    def read(self, run: CatchUp, body: Run, now: float) -> None:
        """Take part in the run, decline it, or wait, by the app that its record names."""
        private = read_private(body, RunPrivate, run.chain.keys)
        self._unread = body if private is None else None
        if private is None:
            return
        bundle = named_bundle(body, private, run.chain.keys)
        self._wanted = wanted = _Wanted(run, bundle, private)
        if why := self._plan.unfit(bundle.app, private.config):
            self._part.decline(run.run, why, now)
        elif self._may_run(bundle.app):
            self._take_part(wanted, now)
        elif self._approved is None:
            self._part.decline(run.run, f"the run's app is {bundle.app}, ours is {self._plan.app}", now)
            if self._plan.files:
                self._outbox.ask(ReadBundle, partial(self._tell_difference, wanted), lambda *_: None, bundle)
        else:
            name = f"{private.name} {private.version}"
            self._outbox.report(What.APP_UNAPPROVED, run=str(run.run), app=str(bundle.app), name=name)
            self._outbox.emit(AskOwner(bundle.app, name, run.run))
            self._part.tell(f"its owner has not approved the run's app yet: peer app approve {bundle.app}", now)

    def read_again(self, run: CatchUp, now: float) -> bool:
        """A roster may have brought us what opens the run record; whether that was not open before."""
        if (body := self._unread) is not None:
            self.read(run, body, now)
        return body is not None

    def decline_unread(self, run: CatchUp, now: float) -> None:
        """Decline a run whose record is encrypted for others even now that we have caught up with it."""
        if self._unread is not None and not self._part.note:
            why = "what the run records is encrypted for others: it has not let us in"
            self._part.decline(run.run, why, now)

    def _tell_difference(self, declined: _Wanted, blocks: Mapping[CID, bytes], now: float) -> None:
        """Say in which files our app is not the one of the run that we declined."""
        if self._wanted is not declined:
            return
        try:
            found = difference_from(declined.bundle, MemoryBlocks(blocks), self._plan.files)
        except BlockError:
            return
        said = f"the run's app is {declined.bundle.app}, ours is {self._plan.app}, and they differ: "
        self._outbox.report(What.RUN_REFUSED, run=str(declined.run.run), why=said + found.in_words())
        self._part.tell(said + found.in_words(with_surplus=False), now)

    def _may_run(self, app: CID) -> bool:
        return app == self._plan.app or (self._approved is not None and app in self._approved)

    def approve(self, event: AppsApproved, now: float) -> None:
        """The owner approved apps or took that back; what has begun goes on."""
        if self._approved is None:
            return
        self._approved = event.apps
        wanted = self._wanted
        if self._machine.state is not ClientState.LISTENING or wanted is None or not self._may_run(wanted.bundle.app):
            return
        if not self._plan.unfit(wanted.bundle.app, wanted.private.config):
            self._take_part(wanted, now)
            self._part.tell("", now)

    # -- is it here -------------------------------------------------------------------------------------------------

    def _take_part(self, wanted: _Wanted, now: float) -> None:
        self._part.take(wanted.run.run, wanted.private.name)
        app = wanted.bundle.app
        if app == self._hosted:
            self._begin()
        elif app == self._plan.app:
            self.start(app)
        else:
            self._unpack(wanted, Backoff(now))

    def _unpack(self, wanted: _Wanted, retry: Backoff) -> None:
        self._unpack_again = None
        done, failed = partial(self._unpacked, wanted), partial(self._not_unpacked, wanted, retry)
        limit = self._machine.newest.manifest.settings.max_app_bytes
        self._outbox.ask(UnpackApp, done, failed, wanted.bundle, limit)

    def _unpacked(self, wanted: _Wanted, now: float) -> None:
        self._unpack_again = None
        if self._needs(wanted.bundle.app):
            if self._part.note:
                self._part.tell("", now)
            self.start(wanted.bundle.app)

    def _not_unpacked(self, wanted: _Wanted, retry: Backoff, why: str, now: float) -> None:
        """Try again later, and say that we are of no use till then."""
        app = wanted.bundle.app
        self._outbox.report(What.FETCH_FAILED, app=str(app), why=why)
        if self._needs(app):
            self._part.tell(f"the run's app {app} cannot be had: {why}", now)
            retry.back_off(now)
            self._unpack_again = retry

    def _needs(self, app: CID) -> bool:
        follows = self._machine.state is ClientState.FOLLOWING
        return follows and self._wanted is not None and self._wanted.bundle.app == app and self._hosted != app

    def due(self, now: float) -> None:
        """Fetch and unpack the app again, if it is time."""
        if self._unpack_again is not None and self._wanted is not None and now >= self._unpack_again.at:
            self._unpack(self._wanted, self._unpack_again)

    def moments(self) -> Iterator[float]:
        """When the app is to be fetched and unpacked again."""
        if self._unpack_again is not None:
            yield self._unpack_again.at

    # -- its process ------------------------------------------------------------------------------------------------

    def start(self, app: CID) -> None:
        """Start a process of an app that is here."""
        if app != self._hosted:
            self._failed_starts = 0
        self.process, self._hosted = AppState.STARTING, app
        self._outbox.emit(StartApp(app))

    def start_again(self) -> None:
        """Start another process of the same app."""
        assert self._hosted is not None
        self.start(self._hosted)

    def ready(self, event: AppReady, now: float) -> None:
        """The process has its imports."""
        self.process = AppState.READY
        self._failed_starts = 0
        self._begin()

    def _begin(self) -> None:
        """Give the process its run, once both are here."""
        wanted, follows = self._wanted, self._machine.state is ClientState.FOLLOWING
        if not follows or wanted is None or wanted.bundle.app != self._hosted or self.process is not AppState.READY:
            return
        self.process = AppState.STARTED
        run, node = wanted.run.run, node_id(self._machine.newest.author.member)
        seed = hashlib.sha256(b"pollen client seed 1" + self._plan.secret + bytes(run)).digest()
        self._outbox.emit(Hand(Start(run, node, seed, wanted.private.config, self._plan.node_config)))

    def lost(self, why: str, now: float, *, at_work: bool) -> None:
        """The process was lost, ``at_work`` on a message or not: start another, unless it would be lost at once."""
        self._outbox.report(What.APP_LOST, why=why)
        if self.process is AppState.STARTING:
            self._failed_starts += 1
            if self._failed_starts >= STARTS:
                self._outbox.cannot_go_on(f"the app process does not start: {why}", now, Cause.APP)
                return
        if self.process is AppState.STARTED and not at_work:
            self.process = AppState.LOST
        else:
            self.start_again()

"""The app of the run that is followed: may it run here, and are its files here.

Code is never run because a record names it. An app is the one that the owner named, or one that the owner approved; an
unknown one waits for that, if the owner left it open, and nothing of it is even unpacked before.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from protocol.blocks.bundle import NamedBundle, difference_from
from protocol.blocks.cid import CID, BlockError, MemoryBlocks
from protocol.federation.run_keys import read_private
from protocol.keeping.plan import KEEP_EVERYTHING, KeepPlan
from protocol.pacing.backoff import Backoff
from protocol.records.bodies import Run, RunPrivate
from protocol.roles.catch_up import CatchUp
from protocol.roles.effects import AskOwner, ReadBundle, UnpackApp, What
from protocol.roles.events import AppsApproved
from protocol.roles.following.follower_states import FollowerState
from protocol.roles.following.taking_part import TakingPart
from protocol.roles.leader.run_plan import named_bundle
from protocol.roles.machine import Machine
from protocol.roles.waiting import Awaited


class AllowedApps(Protocol):
    """What the owner has chosen: which apps may run here."""

    @property
    def app(self) -> CID | None:
        """The app that the owner has named (its id); its files are here."""

    @property
    def approved(self) -> frozenset[CID] | None:
        """The apps that may run besides; others wait for approval. None if the owner lets ``app`` alone run."""

    @property
    def files(self) -> Sequence[tuple[str, bytes]]:
        """Of ``app``, the paths and bytes: if a run is of another, it is said in which files."""

    def why_not(self, app: CID, private: RunPrivate) -> str:
        """Why the app cannot run here as its run record says; empty if it can."""


class RunsApp(Protocol):
    """The one app process of a role."""

    @property
    def app(self) -> CID | None:
        """The app that it is a process of; None if there is none."""

    @property
    def has_its_run(self) -> bool:
        """Whether the process was given its run, though it may have been lost since."""

    def give(self, wanted: WantedApp) -> None:
        """Give the run to a process of its app, as soon as one is ready."""

    def start(self, app: CID) -> None:
        """Start a process of an app that is here."""

    def leave(self) -> None:
        """The run is over, or another is followed."""


@dataclass(frozen=True, slots=True)
class WantedApp:
    """The app of the run that is followed."""

    run: CatchUp
    body: Run
    bundle: NamedBundle
    private: RunPrivate


class AppApproval:
    """Takes part in a run if its app may run, and has the app unpacked and started."""

    def __init__(self, plan: AllowedApps, part: TakingPart, process: RunsApp, machine: Machine[FollowerState]) -> None:
        self._plan = plan
        self._part = part
        self._process = process
        self._machine = machine
        self._outbox = machine.outbox
        self._approved = plan.approved
        self._unread: Run | None = None
        """The run record, if it is encrypted for others so far."""
        self._wanted: WantedApp | None = None
        self._unpack_again: Backoff | None = None

    @property
    def awaited(self) -> Awaited | None:
        """What is not here for us to take part in the run."""
        follows = self._machine.state is FollowerState.FOLLOWING
        if self._wanted is None or not follows or self._process.has_its_run:
            return None
        return Awaited.APP if self._wanted.bundle.app == self._process.app else Awaited.APP_FILES

    @property
    def wanted(self) -> RunPrivate | None:
        """What the run record says of the app; None if there is no run, or it is not open to us."""
        return None if self._wanted is None else self._wanted.private

    @property
    def wanted_app(self) -> WantedApp | None:
        """The app of the run that is followed; None if there is no run, or it is not open to us."""
        return self._wanted

    @property
    def plan(self) -> KeepPlan:
        """Which contents of the wanted run stay."""
        return KEEP_EVERYTHING if self._wanted is None else self._wanted.body.plan

    @property
    def is_unapproved(self) -> bool:
        """Whether the run's app waits for the owner's approval."""
        wanted, listens = self._wanted, self._machine.state is FollowerState.LISTENING
        if wanted is None or not listens or self._approved is None or self._may_run(wanted.bundle.app):
            return False
        return not self._plan.why_not(wanted.bundle.app, wanted.private)

    def leave(self) -> None:
        """The run is over, or another is followed: its app is not needed."""
        self._wanted = self._unpack_again = None
        self._process.leave()

    # -- may it run -------------------------------------------------------------------------------------------------

    def read(self, run: CatchUp, body: Run, now: float) -> None:
        """Take part in the run, decline it, or wait, by the app that its record names."""
        private = read_private(body, RunPrivate, run.chain.keys)
        self._unread = body if private is None else None
        if private is None:
            return
        bundle = named_bundle(body, private, run.chain.keys)
        self._wanted = wanted = WantedApp(run, body, bundle, private)
        if why := self._plan.why_not(bundle.app, private):
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

    def _tell_difference(self, declined: WantedApp, blocks: Mapping[CID, bytes], now: float) -> None:
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
        if self._machine.state is not FollowerState.LISTENING or wanted is None or not self._may_run(wanted.bundle.app):
            return
        if not self._plan.why_not(wanted.bundle.app, wanted.private):
            self._take_part(wanted, now)
            self._part.tell("", now)

    # -- are its files here --------------------------------------------------------------------------------------------

    def _take_part(self, wanted: WantedApp, now: float) -> None:
        self._part.take(wanted.run.run, wanted.private.name, wanted.body.plan, wanted.body.closing_rule)
        app = wanted.bundle.app
        self._process.give(wanted)
        if app == self._process.app:
            return
        if app == self._plan.app:
            self._process.start(app)
        else:
            self._unpack(wanted, Backoff(now))

    def _unpack(self, wanted: WantedApp, retry: Backoff) -> None:
        self._unpack_again = None
        done, failed = partial(self._unpacked, wanted), partial(self._not_unpacked, wanted, retry)
        limit = self._machine.newest.manifest.settings.max_app_bytes
        self._outbox.ask(UnpackApp, done, failed, wanted.bundle, limit)

    def _unpacked(self, wanted: WantedApp, now: float) -> None:
        self._unpack_again = None
        if self._needs(wanted.bundle.app):
            if self._part.note:
                self._part.tell("", now)
            self._process.start(wanted.bundle.app)

    def _not_unpacked(self, wanted: WantedApp, retry: Backoff, why: str, now: float) -> None:
        """Try again later, and say that we are of no use till then."""
        app = wanted.bundle.app
        self._outbox.report(What.FETCH_FAILED, app=str(app), why=why)
        if self._needs(app):
            self._part.tell(f"the run's app {app} cannot be had: {why}", now)
            retry.back_off(now)
            self._unpack_again = retry

    def _needs(self, app: CID) -> bool:
        follows = self._machine.state is FollowerState.FOLLOWING
        return follows and self._wanted is not None and self._wanted.bundle.app == app and self._process.app != app

    def due(self, now: float) -> None:
        """Fetch and unpack the app again, if it is time."""
        if self._unpack_again is not None and self._wanted is not None and now >= self._unpack_again.at:
            self._unpack(self._wanted, self._unpack_again)

    def moments(self) -> Iterator[float]:
        """When the app is to be fetched and unpacked again."""
        if self._unpack_again is not None:
            yield self._unpack_again.at

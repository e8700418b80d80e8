"""The app of a client's run: may it run here, is it here, and does its process have its run.

Code is never run because a record names it. An app is the one that the owner named, or one that the owner approved; an
unknown one waits for that, if the owner left it open, and nothing of it is even unpacked before.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum, auto
from functools import partial
from typing import Final

from protocol.app.calls import Start
from protocol.blocks.bundle import NamedBundle, difference_from
from protocol.blocks.cid import CID, BlockError, MemoryBlocks
from protocol.federation.manifest import node_id
from protocol.pacing.retry import Retry
from protocol.records.bodies import RunConfig, RunPrivate
from protocol.roles.catch_up import CatchUp
from protocol.roles.client.follow import ClientState, Following, Verified
from protocol.roles.client.forgotten_replies import Recalling
from protocol.roles.effects import AskOwner, Cause, Hand, ReadBundle, StartApp, UnpackApp, What
from protocol.roles.events import AppLost, AppReady, AppsApproved
from protocol.roles.newest_manifest import Author, TrustedManifest
from protocol.roles.waits import Awaited
from protocol.wire.announcements import Beat

MAX_NOTE: Final = 500
"""Characters of why we are of no use, in a beat."""

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
"""Where its process was given its run."""


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
    """The apps that may run besides; others wait for approval. None where the owner lets ``app`` alone run."""
    unfit: Callable[[CID, RunConfig], str] = lambda _app, _config: ""
    """Why an app cannot run here, with this ``node_config``, in a run with those settings; empty where it can."""
    files: Sequence[tuple[str, bytes]] = field(default=(), repr=False)
    """Of ``app``, the paths and bytes: where a run is of another, it is said in which files."""


class Hosting(Following):
    """A machine that follows runs and has their app here."""

    def __init__(self, author: Author, trusted: TrustedManifest, plan: ClientPlan, verified: Verified) -> None:
        super().__init__(author, trusted, verified)
        self.node = node_id(author.member)
        self._plan = plan
        self._approved = plan.approved
        self._app = AppState.ABSENT
        self._hosted: CID | None = None
        """The app of the process there is."""
        self._failed_starts = 0
        self._bundle: NamedBundle | None = None
        """Of the run that is followed or waits for approval."""
        self._run_private: RunPrivate | None = None
        self._recalling = Recalling(author.session)
        """Whether the leader of the run that is followed has told us what it has of ours."""
        self._unpack_again: Retry | None = None

    # -- for the role to fill ---------------------------------------------------------------------------------------

    def _app_has_run(self) -> None:
        """The app process was given its run."""
        raise NotImplementedError

    def _app_lost_work(self, why: str, now: float) -> bool:
        """The app process was lost, and with it what it had in hand; whether that was anything."""
        raise NotImplementedError

    def _is_behind(self, run: CatchUp) -> bool:
        """Whether we know a newer manifest than the run does: who has left could still read what is answered now."""
        return self.manifest.version > run.chain.manifest.version

    def _lacks(self) -> Awaited | None:
        """What is not here for us to take part in a run; nothing where we do, or why we do not was said."""
        run = self._run
        if self._note:
            return None
        if not self._heard:
            return Awaited.SERVER
        if run is None or run.chain.closed:
            return Awaited.RUN
        if not run.caught_up:
            return Awaited.RECORDS
        if self._is_behind(run):
            return Awaited.ROSTER
        if not self._recalling.has_listened:
            return Awaited.PAST
        if self._bundle is None or self.state is not ClientState.FOLLOWING or self._app in _TOLD:
            return None
        return Awaited.APP if self._bundle.app == self._hosted else Awaited.APP_FILES

    # -- may it run -------------------------------------------------------------------------------------------------

    def _choose_app(self, bundle: NamedBundle, private: RunPrivate, now: float) -> None:
        """Take part in the run, decline it, or wait, by its app."""
        assert self._run is not None
        self._bundle, self._run_private = bundle, private
        if why := self._plan.unfit(bundle.app, private.config):
            self._decline(self._run.run, why, now)
        elif self._may_run(bundle.app):
            self._take_part(bundle, private, now)
        elif self._approved is None:
            self._decline(self._run.run, f"the run's app is {bundle.app}, ours is {self._plan.app}", now)
            if self._plan.files:
                self._outbox.ask(ReadBundle, partial(self._tell_difference, bundle), lambda *_: None, bundle)
        else:
            self._wait_for_approval(bundle.app, private, now)

    def _tell_difference(self, bundle: NamedBundle, blocks: Mapping[CID, bytes], now: float) -> None:
        """Say in which files our app is not the one of the run that we declined."""
        if self._bundle is not bundle or self._run is None:
            return
        try:
            found = difference_from(bundle, MemoryBlocks(blocks), self._plan.files)
        except BlockError:
            return
        said = f"the run's app is {bundle.app}, ours is {self._plan.app}, and they differ: "
        self._note = (said + found.in_words(with_surplus=False))[:MAX_NOTE]
        self._outbox.report(What.RUN_REFUSED, run=str(self._run.run), why=said + found.in_words())
        self._voice.say(Beat, now)

    def _may_run(self, app: CID) -> bool:
        return app == self._plan.app or (self._approved is not None and app in self._approved)

    def _wait_for_approval(self, app: CID, private: RunPrivate, now: float) -> None:
        assert self._run is not None
        self._note = f"its owner has not approved the run's app yet: peer app approve {app}"
        name = f"{private.name} {private.version}"
        self._outbox.report(What.APP_UNAPPROVED, run=str(self._run.run), app=str(app), name=name)
        self._outbox.emit(AskOwner(app, name, self._run.run))
        self._voice.say(Beat, now)

    def _apps_approved(self, event: AppsApproved, now: float) -> None:
        """The owner approved apps or took that back; what has begun goes on."""
        if self._approved is None:
            return
        self._approved = event.apps
        bundle, private = self._bundle, self._run_private
        if self.state is not ClientState.LISTENING or bundle is None or private is None:
            return
        if not self._plan.unfit(bundle.app, private.config) and self._may_run(bundle.app):
            self._note = ""
            self._take_part(bundle, private, now)
            self._voice.say(Beat, now)

    def _leave_app(self) -> None:
        """The run is over, or another is followed: its app is not needed, a process that had it begins afresh."""
        self._bundle = self._run_private = self._unpack_again = None
        if self._app in _TOLD and self._hosted is not None:
            self._start_app(self._hosted)

    # -- is it here -------------------------------------------------------------------------------------------------

    def _take_part(self, bundle: NamedBundle, private: RunPrivate, now: float) -> None:
        assert self._run is not None
        self.state = ClientState.FOLLOWING
        self._outbox.report(What.RUN_FOLLOWED, run=str(self._run.run), app=private.name)
        if bundle.app == self._hosted:
            self._begin_app()
        elif bundle.app == self._plan.app:
            self._start_app(bundle.app)
        else:
            self._unpack_app(bundle, Retry(now))

    def _unpack_app(self, bundle: NamedBundle, retry: Retry) -> None:
        self._unpack_again = None
        app = bundle.app
        done, failed = partial(self._app_unpacked, app), partial(self._app_not_unpacked, app, retry)
        self._outbox.ask(UnpackApp, done, failed, bundle, self.manifest.settings.max_app_bytes)

    def _app_unpacked(self, app: CID, now: float) -> None:
        self._unpack_again = None
        if not self._needs(app):
            return
        if self._note:
            self._note = ""
            self._voice.say(Beat, now)
        self._start_app(app)

    def _app_not_unpacked(self, app: CID, retry: Retry, why: str, now: float) -> None:
        """Try again later, and say that we are of no use till then."""
        self._outbox.report(What.FETCH_FAILED, app=str(app), why=why)
        if self._needs(app):
            self._note = f"the run's app {app} cannot be had: {why}"[:MAX_NOTE]
            self._voice.say(Beat, now)
            retry.back_off(now)
            self._unpack_again = retry

    def _needs(self, app: CID) -> bool:
        following = self.state is ClientState.FOLLOWING
        return following and self._bundle is not None and self._bundle.app == app and self._hosted != app

    def _app_due(self, now: float) -> None:
        if self._unpack_again is not None and self._bundle is not None and now >= self._unpack_again.at:
            self._unpack_app(self._bundle, self._unpack_again)

    # -- its process ------------------------------------------------------------------------------------------------

    def _start_app(self, app: CID) -> None:
        if app != self._hosted:
            self._failed_starts = 0
        self._app, self._hosted = AppState.STARTING, app
        self._outbox.emit(StartApp(app))

    def _app_ready(self, event: AppReady, now: float) -> None:
        self._app = AppState.READY
        self._failed_starts = 0
        self._begin_app()

    def _begin_app(self) -> None:
        """Give the app process its run, once both are here."""
        following = self.state is ClientState.FOLLOWING and self._run is not None
        if not following or self._app is not AppState.READY:
            return
        assert self._run is not None
        assert self._bundle is not None
        assert self._run_private is not None
        if self._bundle.app != self._hosted:
            return
        self._app = AppState.STARTED
        seed = hashlib.sha256(b"pollen client seed 1" + self._plan.secret + bytes(self._run.run)).digest()
        config = self._run_private.config
        self._outbox.emit(Hand(Start(self._run.run, self.node, seed, config, self._plan.node_config)))
        self._app_has_run()

    def _app_lost(self, event: AppLost, now: float) -> None:
        assert self._hosted is not None
        self._outbox.report(What.APP_LOST, why=event.why)
        if self._app is AppState.STARTING:
            self._failed_starts += 1
            if self._failed_starts >= STARTS:
                self._outbox.cannot_go_on(f"the app process does not start: {event.why}", now, Cause.APP)
                return
        if not self._app_lost_work(event.why, now) and self._app is AppState.STARTED:
            self._app = AppState.LOST  # another would be lost at once
        else:
            self._start_app(self._hosted)

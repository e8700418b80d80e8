"""A client's app process: started, given its run, and started again if it is lost."""

from __future__ import annotations

import hashlib
from enum import Enum, auto
from typing import Final

from protocol.app.calls import AppReady, Start
from protocol.blocks.cid import CID
from protocol.federation.manifest import node_id
from protocol.roles.client.client_plan import ClientPlan
from protocol.roles.effects import Hand, StartApp, StopCause, What
from protocol.roles.following.app_approval import WantedApp
from protocol.roles.following.follower_states import FollowerState
from protocol.roles.machine import Machine

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


class AppProcess:
    """The one process there is, of one app."""

    def __init__(self, plan: ClientPlan, machine: Machine[FollowerState]) -> None:
        self._plan = plan
        self._machine = machine
        self._outbox = machine.outbox
        self.state = AppState.ABSENT
        self.app: CID | None = None
        """The app that it is a process of."""
        self._run: tuple[CID, Start] | None = None
        """What a process of that app is given."""
        self._failed_starts = 0

    @property
    def has_its_run(self) -> bool:
        """Whether the process was given its run, though it may have been lost since."""
        return self.state in (AppState.STARTED, AppState.LOST)

    def start(self, app: CID) -> None:
        """Start a process of an app that is here."""
        if app != self.app:
            self._failed_starts = 0
        self.state, self.app = AppState.STARTING, app
        self._outbox.emit(StartApp(app))

    def start_again(self) -> None:
        """Start another process of the same app."""
        assert self.app is not None
        self.start(self.app)

    def give(self, wanted: WantedApp) -> None:
        """Give the run to a process of its app, as soon as one is ready."""
        run, plan = wanted.run.run, self._plan
        seed = hashlib.sha256(b"pollen client seed 1" + plan.secret + bytes(run)).digest()
        node = node_id(self._machine.newest.author.member)
        self._run = wanted.bundle.app, Start(run, node, seed, wanted.private.config, plan.node_config)
        self._begin()

    def leave(self) -> None:
        """The run is over, or another is followed: a process that had it begins afresh."""
        self._run = None
        if self.has_its_run:
            self.start_again()

    def ready(self, event: AppReady, now: float) -> None:
        """The process has its imports."""
        self.state = AppState.READY
        self._failed_starts = 0
        self._begin()

    def _begin(self) -> None:
        follows = self._machine.state is FollowerState.FOLLOWING
        if follows and self._run is not None and self._run[0] == self.app and self.state is AppState.READY:
            self.state = AppState.STARTED
            self._outbox.emit(Hand(self._run[1]))

    def lost(self, why: str, now: float, *, at_work: bool) -> None:
        """The process was lost, ``at_work`` on a message or not: start another, unless it would be lost at once."""
        self._outbox.report(What.APP_LOST, why=why)
        if self.state is AppState.STARTING:
            self._failed_starts += 1
            if self._failed_starts >= STARTS:
                self._outbox.cannot_go_on(f"the app process does not start: {why}", now, StopCause.APP)
                return
        if self.state is AppState.STARTED and not at_work:
            self.state = AppState.LOST
        else:
            self.start_again()

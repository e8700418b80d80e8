"""A demo from its beginning to its audit."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from peer.cli.output import size
from peer.demo.display import Display
from peer.demo.engines import engine_of, server_engine
from peer.demo.founding import found, join
from peer.demo.plan import DemoPlan
from peer.demo.processes import LogEvent, PeerProcesses
from peer.demo.progress import ClientProgress, Progress
from peer.engine.interface import Engine
from peer.errors import ExitCode, PeerError
from peer.federation import StoredFederation
from protocol.blocks import CID
from protocol.effects import What

if TYPE_CHECKING:  # they import flwr, which the demo does while its processes start
    from peer.inspect.report import Report
    from peer.inspect.rounds import Exchange

_LOOK: Final = 0.05
"""Seconds between two looks at the logs: a person's pace."""

_END_SECONDS: Final = 20.0
"""Seconds that clients have to hear of the run's end once the server has ended."""


class Phase(StrEnum):
    """The parts of a demo whose time is told."""

    SETUP = "setup"
    """Keys, federation, engines, data."""
    IMPORTS = "imports"
    """From the start of the processes until the first message is out."""
    TRAINING = "training"
    """Until the run is closed."""
    AUDIT = "audit"
    """Until the verdict."""


@dataclass(slots=True)
class Stopwatch:
    """Seconds by phase."""

    seconds: dict[Phase, float] = field(default_factory=dict)
    _since: float = field(default_factory=time.monotonic)

    def ends(self, phase: Phase) -> None:
        """``phase`` ends now, and began where the one before ended."""
        now = time.monotonic()
        self.seconds[phase] = now - self._since
        self._since = now


@dataclass(frozen=True, slots=True)
class DemoResult:
    """How it went."""

    accuracy: float | None
    exchanges: list[Exchange]
    audit: Report
    seconds: dict[Phase, float]


def perform(plan: DemoPlan, display: Display) -> DemoResult:
    """Set it up, run it to its end, and audit it.

    Raises:
        PeerError: where a process failed, the data is absent, or the folder is in use; no process is left then.
        EngineError: where the engine cannot be used.
    """
    watch = Stopwatch()
    with plan_lock(plan):
        federation = _set_up(plan)
        with server_engine(plan, federation) as engine:
            join(plan, federation, engine.addresses())
            watch.ends(Phase.SETUP)
            display.say(f"1 server and {plan.clients} clients in {plan.folder}, engine {engine_of(plan)}")
            with PeerProcesses() as processes, display:
                course = _Course(plan, federation, engine, processes, display, watch)
                course.run()
            display.say("auditing the run")
            report = _audit(engine, federation, course.progress.head)
            watch.ends(Phase.AUDIT)
    return DemoResult(course.progress.accuracy, course.progress.exchanges, report, watch.seconds)


@contextmanager
def plan_lock(plan: DemoPlan) -> Iterator[None]:
    """Hold the demo's folder: two demos in one would be in each other's way."""
    from peer.home import Home

    with Home(plan.folder).lock():
        yield


def _set_up(plan: DemoPlan) -> StoredFederation:
    from strategy.builtin_app import DataUnavailable, prepare_dataset

    try:
        prepare_dataset(plan.dataset, str(plan.data_dir or ""))
    except DataUnavailable as error:
        raise PeerError(str(error), code=ExitCode.UNFINISHED) from error
    return found(plan)


class _Course:
    """The run itself, watched."""

    def __init__(
        self,
        plan: DemoPlan,
        federation: StoredFederation,
        engine: Engine,
        processes: PeerProcesses,
        display: Display,
        watch: Stopwatch,
    ) -> None:
        self._plan = plan
        self._federation = federation
        self._engine = engine
        self._processes = processes
        self._display = display
        self._watch = watch
        self.progress = Progress({peer.name: ClientProgress() for peer in plan.client_peers}, plan.rounds)

    def run(self) -> None:
        """Start all processes at once, and watch them to their end."""
        for peer in self._plan.peers:
            self._processes.start(peer, self._plan.command(peer, engine_of(self._plan)))
        self._display.show(self.progress)
        from peer.demo.following import ChainFollower  # flwr: while the others import it too

        limit = self._federation.manifest.settings.max_content_bytes
        follower = ChainFollower(self._federation.id, self._engine, limit)
        deadline = float("inf")
        while not self._processes.ended and time.monotonic() < deadline:
            time.sleep(_LOOK)
            head = self.progress.head
            for event in self._processes.events():
                self._take(event)
            if self.progress.head != head:
                for exchange in follower.follow(CID.parse(self.progress.head)):
                    self.progress.take_exchange(exchange)
                    self._display.say(_told(exchange))
            self._display.show(self.progress)
            self._processes.raise_failure()
            if self._processes.all[0].code == 0:
                deadline = min(deadline, time.monotonic() + _END_SECONDS)
        if not self.progress.closed:
            raise PeerError("the server ended before its run did", code=ExitCode.UNFINISHED)

    def _take(self, event: LogEvent) -> None:
        self.progress.take(event)
        if event.peer != self._plan.server.name:
            return
        match event.what:
            case What.RUN_OPENED:
                self._display.say(f"run {self.progress.run} is open")
            case What.WAITING_FOR_CLIENTS:
                self._display.say(
                    f"waiting for clients: {event.text('here')} of {event.text('needed')} are here"
                )
            case What.DISPATCHED if Phase.IMPORTS not in self._watch.seconds:
                self._watch.ends(Phase.IMPORTS)
            case What.RUN_CLOSED:
                self._watch.ends(Phase.TRAINING)
                self._display.say(f"the run is closed: {event.text('outcome')}")


def _told(exchange: Exchange) -> str:
    """``round 2: train by 3: loss 0.123 (270 kB out, 811 kB back)``"""
    answered = sum(answer.code is None for answer in exchange.answers)
    metrics = ", ".join(f"{name} {value:.3g}" for name, value in exchange.mean_metrics().items())
    errors = len(exchange.answers) - answered
    failed = f", {errors} failed" if errors else ""
    traffic = f"({size(exchange.sent or 0)} out, {size(exchange.received or 0)} back)"
    where = f"round {exchange.round}" if exchange.round is not None else f"exchange {exchange.number}"
    return f"{where}: {', '.join(exchange.types)} by {answered}{failed}: {metrics} {traffic}"


def _audit(engine: Engine, federation: StoredFederation, head: str) -> Report:
    """The audit that ``peer audit`` does."""
    from peer.demo.following import FETCH_SECONDS
    from peer.inspect.audit import Audit
    from peer.inspect.scratch import Scratch
    from peer.inspect.sources import EngineSource

    with Scratch() as scratch:
        return Audit(CID.parse(head), EngineSource(engine, FETCH_SECONDS), scratch, known=[federation]).run()

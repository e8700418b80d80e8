"""Runs a demo: sets it up, watches its processes to their end, audits the run."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from peer.base.errors import ExitCode, PeerError
from peer.base.interrupts import Interrupts
from peer.cli.output import size
from peer.demo.display import Display
from peer.demo.engines import engine_of, server_engine
from peer.demo.founding import found, join, server_reader
from peer.demo.plan import DemoPlan
from peer.demo.processes import LogEvent, PeerProcesses
from peer.demo.progress import ClientProgress, Progress
from peer.engine.interface import Engine
from peer.home.federations import StoredFederation
from peer.home.home import Home
from peer.run.narrator import line_of
from protocol.blocks.cid import CID
from protocol.roles.effects import Report, What

if TYPE_CHECKING:  # they import flwr, which is slow; the demo imports it while its processes do
    from peer.audit.report import Report as AuditReport
    from peer.history.chain_follower import ChainFollower
    from peer.history.rounds import Exchange

_NEWS: Final = frozenset({What.RUN_OPENED, What.WAITING_FOR_CLIENTS})
"""Reports of the server that the demo shows."""

_TROUBLE: Final = frozenset({What.RUN_REFUSED, What.RUN_LOST, What.APP_LOST})
"""Reports that it shows whoever makes them."""

_LOOK: Final = 0.05
"""Seconds between reading the logs."""

_END_SECONDS: Final = 20.0
"""Seconds that clients have to end after the server has ended."""


class Phase(StrEnum):
    """The phases of a demo, which are timed."""

    SETUP = "setup"
    """Keys, federation, engines, data."""
    IMPORTS = "imports"
    """From the start of the processes to the first message."""
    TRAINING = "training"
    """Until the run is closed."""
    AUDIT = "audit"
    """Until the verdict."""


@dataclass(slots=True)
class Stopwatch:
    """Measures the phases."""

    seconds: dict[Phase, float] = field(default_factory=dict)
    _since: float = field(default_factory=time.monotonic)

    def ends(self, phase: Phase) -> None:
        """``phase`` ends now. It began when the last one ended."""
        now = time.monotonic()
        self.seconds[phase] = now - self._since
        self._since = now


@dataclass(frozen=True, slots=True)
class DemoResult:
    """What a demo came to."""

    accuracy: float | None
    exchanges: list[Exchange]
    audit: AuditReport
    seconds: dict[Phase, float]


def perform(plan: DemoPlan, display: Display) -> DemoResult:
    """Run a demo. When this returns or raises, no process is left.

    Raises:
        PeerError: if a process failed, the data is absent, or the folder is in use.
        EngineError: if the engine cannot be used.
        KeyboardInterrupt: if the person or the system asked it to stop.
    """
    watch = Stopwatch()
    with Interrupts() as interrupts, Home(plan.folder).lock():
        federation = _set_up(plan)
        with server_engine(plan, federation) as engine:
            join(plan, federation, engine.addresses())
            watch.ends(Phase.SETUP)
            display.say(f"1 server and {plan.clients} clients in {plan.folder}, engine {engine_of(plan)}")
            with PeerProcesses(interrupts) as processes, display:
                course = _Course(plan, processes, display, watch, interrupts)
                course.run(federation, engine)
            display.say("auditing the run, by running its app again")
            report = _audit(plan, engine, federation, course.progress.head)
            watch.ends(Phase.AUDIT)
    return DemoResult(course.progress.accuracy, course.progress.exchanges, report, watch.seconds)


def _set_up(plan: DemoPlan) -> StoredFederation:
    from strategy.apps.builtin_app import DataUnavailable, prepare_dataset

    try:
        prepare_dataset(plan.dataset, str(plan.data_dir or ""))
    except DataUnavailable as error:
        raise PeerError(str(error), code=ExitCode.UNFINISHED) from error
    return found(plan)


class _Course:
    """The processes from start to end, and what they report meanwhile."""

    def __init__(
        self,
        plan: DemoPlan,
        processes: PeerProcesses,
        display: Display,
        watch: Stopwatch,
        interrupts: Interrupts,
    ) -> None:
        self._plan = plan
        self._processes = processes
        self._display = display
        self._watch = watch
        self._interrupts = interrupts
        self._server_seen = time.monotonic()
        self.progress = Progress({peer.name: ClientProgress() for peer in plan.client_peers}, plan.rounds)

    def run(self, federation: StoredFederation, engine: Engine) -> None:
        """Start all processes at once, and watch them until they end.

        Raises:
            PeerError: if one failed, or no client could work.
        """
        for peer in self._plan.peers:
            self._processes.start(peer, self._plan.command(peer), engine_of(self._plan))
        self._display.show(self.progress)
        # these import flwr, as the processes do now
        from peer.history.chain_follower import FETCH_SECONDS, ChainFollower, content_sizes
        from peer.history.run_sources import EngineSource

        source = EngineSource(engine, FETCH_SECONDS)
        size_of = content_sizes(source, federation.manifest.settings.max_content_bytes)
        follower = ChainFollower(federation.id, source, server_reader(self._plan), size_of=size_of)
        while not self._is_over():
            time.sleep(_LOOK)
            self._interrupts.check()
            self._look(follower)
        self._look(follower)  # the last reports
        self._judge()

    def _is_over(self) -> bool:
        """Whether all have ended, or the server has, and the clients have had their time since."""
        server = self._processes.all[0]
        if server.code is None:
            self._server_seen = time.monotonic()
        return self._processes.ended or time.monotonic() > self._server_seen + _END_SECONDS

    def _look(self, follower: ChainFollower) -> None:
        """Read what is new in the logs and in the chain."""
        head, was_closed = self.progress.head, self.progress.closed
        for event in self._processes.events():
            self._take(event)
        if self.progress.head != head:
            for exchange in follower.follow_over_forks(CID.parse(self.progress.head)):
                self.progress.take_exchange(exchange)
                self._display.say(_told(exchange))
        if self.progress.closed and not was_closed:
            self._watch.ends(Phase.TRAINING)
            self._display.say(f"the run is closed: head {self.progress.head}")
        self._display.show(self.progress)
        self._processes.raise_failure()

    def _take(self, event: LogEvent) -> None:
        self.progress.take(event)
        of_server = event.peer == self._plan.server.name
        if event.what is What.DISPATCHED and Phase.IMPORTS not in self._watch.seconds:
            self._watch.ends(Phase.IMPORTS)
        if event.what in _TROUBLE or (of_server and event.what in _NEWS):
            line = line_of(Report(event.what, event.fields))
            self._display.say(line if of_server else f"{event.peer}: {line}")

    def _judge(self) -> None:
        progress = self.progress
        if not progress.closed:
            fix = f"see its log in {self._plan.logs}"
            raise PeerError("the server ended before its run did", fix=fix, code=ExitCode.UNFINISHED)
        answers = sum(len(exchange.answers) for exchange in progress.exchanges)
        if progress.failures and len(progress.failures) == answers:
            raise PeerError(
                f"no client could work: {progress.failures[0].strip()}",
                fix=f"see its app's log {self._plan.client_peers[0].home.app_log('client')}",
                code=ExitCode.APP_FAILED,
            )


def _told(exchange: Exchange) -> str:
    """As in ``round 2: train by 3: loss 0.123 (270 kB out, 811 kB back)``."""
    answered = sum(answer.code is None for answer in exchange.answers)
    metrics = ", ".join(f"{name} {value:.3g}" for name, value in exchange.mean_metrics().items())
    errors = [answer for answer in exchange.answers if answer.code is not None]
    failed = f", {len(errors)} failed ({errors[0].name}: {_first_line(errors[0].reason)})" if errors else ""
    traffic = f"({size(exchange.sent or 0)} out, {size(exchange.received or 0)} back)"
    where = f"round {exchange.round}" if exchange.round is not None else f"exchange {exchange.number}"
    return f"{where}: {', '.join(exchange.types)} by {answered}{failed}: {metrics} {traffic}"


def _first_line(text: str) -> str:
    return (text.strip().splitlines() or ["no reason given"])[0]


def _audit(plan: DemoPlan, engine: Engine, federation: StoredFederation, head: str) -> AuditReport:
    """The audit that ``peer report`` does, and its page. The app is our own: it runs even if nothing confines it."""
    from peer.audit.audit import Audit
    from peer.audit.trusted_app import trusted_app
    from peer.confinement.confined import confiner
    from peer.confinement.means import tried
    from peer.confinement.rules import Grants
    from peer.history.chain_follower import FETCH_SECONDS
    from peer.history.run_sources import EngineSource
    from peer.history.scratch import Scratch
    from peer.home.acks_grants_proofs import beside_head
    from peer.replay.conditions import Conditions
    from peer.report.writing import report_of, write_report

    with Scratch() as scratch:
        home, source, newest = plan.server.home, EngineSource(engine, FETCH_SECONDS), CID.parse(head)
        beside = beside_head(home, newest, source)
        audit = Audit(newest, source, scratch, known=[federation], reader=server_reader(plan), beside=beside)
        audit.run()
        conditions = Conditions(confiner(Grants(), home) if tried().found else None)
        audit.replay(trusted_app(audit, head, conditions))
        with report_of(audit, scratch, f"peer report {head} -o {plan.report.name}") as report:
            write_report(report, plan.report)
        return audit.report

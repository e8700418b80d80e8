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
from peer.demo.engines import DemoEngines, engine_of
from peer.demo.founding import found, join, server_reader
from peer.demo.plan import DemoPeer, DemoPlan
from peer.demo.processes import LogEvent, PeerProcesses
from peer.demo.progress import ClientProgress, DemoTakeover, Progress, ServerProgress
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

_NEWS: Final = frozenset(
    {What.RUN_OPENED, What.WAITING_FOR_CLIENTS, What.STANDS, What.STANDS_NO_MORE, What.ELECTED, What.TOOK_OVER}
)
"""Reports of servers that the demo shows."""

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
    takeover: DemoTakeover | None
    """After the leader was killed."""


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
        engines = DemoEngines(plan, federation)
        with engines as engine:
            join(plan, federation, engine.addresses())
            watch.ends(Phase.SETUP)
            servers = "1 server" if not plan.standbys else f"{1 + plan.standbys} servers"
            display.say(f"{servers} and {plan.clients} clients in {plan.folder}, engine {engine_of(plan)}")
            with PeerProcesses(interrupts) as processes, display:
                course = _Course(plan, engines, processes, display, watch, interrupts)
                course.run(federation, engine)
            display.say("auditing the run, by running its app again")
            report = _audit(plan, engine, federation, course.progress.head)
            watch.ends(Phase.AUDIT)
    progress = course.progress
    return DemoResult(progress.accuracy, progress.exchanges, report, watch.seconds, progress.takeover)


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
        engines: DemoEngines,
        processes: PeerProcesses,
        display: Display,
        watch: Stopwatch,
        interrupts: Interrupts,
    ) -> None:
        self._plan = plan
        self._engines = engines
        self._processes = processes
        self._display = display
        self._watch = watch
        self._interrupts = interrupts
        self._server_seen = time.monotonic()
        clients = {peer.name: ClientProgress() for peer in plan.client_peers}
        servers = {peer.name: ServerProgress() for peer in plan.server_peers}
        self.progress = Progress(clients, plan.rounds, servers, plan.server.name)
        self._has_clients = False
        """Whether they are started."""
        self._takeover_told = False

    def run(self, federation: StoredFederation, engine: Engine) -> None:
        """Start the processes, and watch them until they end.

        Raises:
            PeerError: if one failed, or no client could work.
        """
        for peer in self._plan.server_peers:
            self._start(peer)
        self._start_clients_if_due()
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

    def _start(self, peer: DemoPeer) -> None:
        self._processes.start(peer, self._plan.command(peer), engine_of(self._plan))

    def _start_clients_if_due(self) -> None:
        """Start the clients: at once if there is one server, or else when the standbys are in the run. Their app
        processes import as much as the clients' do, and a run of a few seconds is over before they are there."""
        standbys = [each for name, each in self.progress.servers.items() if name != self._plan.server.name]
        if not self._has_clients and all(standby.follows for standby in standbys):
            self._has_clients = True
            for peer in self._plan.client_peers:
                self._start(peer)

    def _is_over(self) -> bool:
        """Whether all have ended, or all servers have, and the clients have had their time since."""
        servers = [self._processes.of(peer.name) for peer in self._plan.server_peers]
        if any(server.code is None for server in servers):
            self._server_seen = time.monotonic()
        return (self._has_clients and self._processes.ended) or time.monotonic() > self._server_seen + _END_SECONDS

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
        self._start_clients_if_due()
        self._kill_if_due()
        self._tell_takeover()
        self._display.show(self.progress)
        self._processes.raise_failure()

    def _kill_if_due(self) -> None:
        """Kill the leader (-9) in the middle round, or a later one if no standby has run its app by then. With Kubo its
        node goes too, as if its machine were gone."""
        progress = self.progress
        if not self._plan.kills_leader or progress.takeover is not None or progress.closed:
            return
        if progress.round < self._plan.middle_round:
            return
        standbys = [each for name, each in progress.servers.items() if name != progress.leader and each.follows]
        if not any(standby.recomputed or progress.round == self._plan.rounds for standby in standbys):
            return
        leader = self._processes.of(progress.leader)
        leader.kill()
        progress.killed(time.time())
        self._engines.kill_node(leader.peer)
        self._display.say(f"killed {progress.leader} (kill -9) in round {progress.round}")

    def _tell_takeover(self) -> None:
        takeover = self.progress.takeover
        if takeover is not None and takeover.is_over and not self._takeover_told:
            self._takeover_told = True
            self._display.say(takeover.in_words())

    def _take(self, event: LogEvent) -> None:
        self.progress.take(event)
        of_server = event.peer in self.progress.servers
        if event.what is What.DISPATCHED and Phase.IMPORTS not in self._watch.seconds:
            self._watch.ends(Phase.IMPORTS)
        if event.what in _TROUBLE or (of_server and event.what in _NEWS):
            line = line_of(Report(event.what, event.fields))
            alone = of_server and len(self.progress.servers) == 1
            self._display.say(line if alone else f"{event.peer}: {line}")

    def _judge(self) -> None:
        progress = self.progress
        if not progress.closed:
            fix = f"see its log in {self._plan.logs}"
            raise PeerError("the server ended before its run did", fix=fix, code=ExitCode.UNFINISHED)
        if self._plan.kills_leader and progress.takeover is None:
            fix = f"give it more rounds: --rounds {4 * self._plan.rounds}"
            raise PeerError("the run was over before a standby was in it", fix=fix, code=ExitCode.UNFINISHED)
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
    errors = [answer for answer in exchange.answers if answer.code is not None and not answer.left_out]
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
        home, source, newest = plan.auditing.home, EngineSource(engine, FETCH_SECONDS), CID.parse(head)
        beside = beside_head(home, newest, source)
        audit = Audit(newest, source, scratch, known=[federation], reader=server_reader(plan), beside=beside)
        audit.run()
        conditions = Conditions(confiner(Grants(), home) if tried().found else None)
        audit.replay(trusted_app(audit, head, conditions))
        with report_of(audit, scratch, f"peer report {head} -o {plan.report.name}") as report:
            write_report(report, plan.report)
        return audit.report

"""Measures how long a run stands still if its leader is lost: from ``kill -9`` to the next reply in the new leader's
hands.

For each engine there is one federation of real processes with two servers, and one run. The leader is killed just
after a dispatch, and with ``kubo`` its node too; the other server takes over; the lost one starts again, stands by, and
is the next to take over. The times are those of the peers' logs. Exchanges that nothing disturbed are measured in the
same run: clients wait for ``--pause`` seconds before they answer.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from measured import LOOK, Json, ended_by, machine, start_words
from measured.amounts import one_or_more, positive
from measured.place import bench_folder

from peer.base.errors import ExitCode, PeerError
from peer.base.interrupts import Interrupts
from peer.demo.engines import LOCAL, DemoEngines, engine_of
from peer.demo.founding import found, join
from peer.demo.plan import DemoPlan
from peer.demo.processes import LogEvent, PeerProcesses
from peer.engine.chosen_engine import MANAGED
from protocol.roles.effects import What

APP = Path(__file__).resolve().parent / "echo_app"
ARRAYS = 20
EXCHANGES = 100_000
"""More than there can be: the run is left open."""

SETTLE = 2
"""Exchanges that a new leader does undisturbed before it is killed."""

PATIENCE = 300.0
"""Seconds in which something has to happen."""

PHASES = ("silence", "votes", "record", "reply")
"""Until the standby stands; until it is elected; until its takeover is on disk; until it has a reply."""


def main() -> int:
    """Measure, print a table on stderr, and one JSON object."""
    parser = argparse.ArgumentParser(prog="scripts/bench takeover", description="Time the loss of a leader.")
    parser.add_argument("--kills", type=one_or_more, default=20, help="for each engine")
    parser.add_argument("--megabytes", type=positive, default=1.0, help="of the model")
    parser.add_argument("--clients", type=one_or_more, default=3)
    parser.add_argument("--pause", type=float, default=1.0, help="seconds until a client answers")
    parser.add_argument("--engines", nargs="+", choices=[LOCAL, MANAGED], default=[LOCAL, MANAGED])
    parser.add_argument("--folder", type=Path, help="keep homes, logs and engines here; by default a temporary one")
    options = parser.parse_args()
    results = []
    with bench_folder(options.folder) as folder:
        for engine in options.engines:
            plan = DemoPlan(folder / engine, "", None, "", options.clients, 0, engine, standbys=1, kills_leader=True)
            results.append(measure(plan, options.megabytes, options.pause, options.kills))
            _put(results[-1])
    print(json.dumps({"benchmark": "takeover", "machine": machine(), "results": results}, indent=2))
    return 0


@dataclass(slots=True)
class Lost:
    """A leader that was killed, and what came of it. Times are in seconds since 1970."""

    killed: float
    at: dict[str, float] = field(default_factory=dict)

    @property
    def is_over(self) -> bool:
        """Whether the new leader has a reply."""
        return "reply" in self.at

    def value(self) -> Json:
        """Each phase, and all of them, in seconds."""
        ends = [self.killed, *(self.at[phase] for phase in PHASES)]
        seconds = {phase: round(end - begun, 3) for phase, begun, end in zip(PHASES, ends, ends[1:], strict=False)}
        return {**seconds, "all": round(self.at["reply"] - self.killed, 3)}


class Course:
    """What the logs say of the run."""

    def __init__(self, leader: str) -> None:
        self.leader = leader
        self.lost: Lost | None = None
        self.dispatches = 0
        """Of the leader since it leads."""
        self.undisturbed: list[float] = []
        """Seconds of each exchange that had one leader."""
        self.recomputed = -1
        """The height of the newest exchange that the other server has computed anew."""
        self._dispatched = (-1, 0.0)

    def take(self, event: LogEvent) -> None:
        """Take in a report of a peer."""
        match event.what:
            case What.RECOMPUTED if event.peer != self.leader:
                self.recomputed = int(event.text("height"))
            case What.TOOK_OVER:
                self.leader, self.dispatches, self.recomputed = event.peer, 0, -1
                self._dispatched = (-1, 0.0)
                self._ends("record", event)
            case What.STANDS:
                self._ends("silence", event)
            case What.ELECTED:
                self._ends("votes", event)
            case What.REPLY_ARRIVED if event.peer == self.leader and self.lost is not None and "record" in self.lost.at:
                self._ends("reply", event)
            case What.DISPATCHED if event.peer == self.leader:
                self.dispatches += 1
                self._dispatched = int(event.text("height")), event.time
            case What.COLLECTED if event.peer == self.leader and self._dispatched[1]:
                self.undisturbed.append(event.time - self._dispatched[1])

    def _ends(self, phase: str, event: LogEvent) -> None:
        if self.lost is not None and not self.lost.is_over:
            self.lost.at[phase] = event.time  # the last time: a candidate may have to try again

    @property
    def may_kill(self) -> bool:
        """Whether the leader has dispatched just now, and the other server has replayed all before that."""
        height, _ = self._dispatched
        is_over = self.lost is None or self.lost.is_over
        return is_over and self.dispatches > SETTLE and 0 <= height - self.recomputed <= 2

    def disturbed(self) -> Lost:
        """The leader is killed now."""
        self.lost = Lost(time.time())
        self.dispatches = 0
        return self.lost


def measure(plan: DemoPlan, megabytes: float, pause: float, kills: int) -> Json:
    """Kill the leader of one run so often."""
    shutil.rmtree(plan.folder, ignore_errors=True)
    config = f"bytes={int(megabytes * 1e6)} arrays={ARRAYS} exchanges={EXCHANGES} clients={plan.clients} pause={pause}"
    servers = {peer.name: peer for peer in plan.server_peers}
    course, lost = Course(plan.server.name), list[Lost]()
    with Interrupts() as interrupts:
        federation = found(plan)
        engines = DemoEngines(plan, federation)
        with engines as engine:
            join(plan, federation, engine.addresses())
            with PeerProcesses(interrupts) as processes:
                for peer in plan.peers:
                    processes.start(peer, start_words(plan, peer, APP, config), engine_of(plan))
                while len(lost) < kills:
                    _look_until(lambda: course.may_kill, course, processes, interrupts)
                    killed = servers[course.leader]
                    processes.of(killed.name).kill()
                    lost.append(course.disturbed())
                    engines.kill_node(killed)
                    _look_until(lambda: lost[-1].is_over, course, processes, interrupts)
                    engines.start_node(killed)
                    words = start_words(plan, killed, APP, config, stands_by=False)
                    processes.start_again(killed, words, engine_of(plan))
    values = [each.value() for each in lost]
    whole = sorted(float(str(value["all"])) for value in values)
    return {
        "engine": plan.ipfs,
        "megabytes": megabytes,
        "clients": plan.clients,
        "pause_seconds": pause,
        "kills": len(lost),
        "median_seconds": round(statistics.median(whole), 3),
        "worst_seconds": whole[-1],
        "median_of_phases": {
            phase: round(statistics.median(float(str(value[phase])) for value in values), 3) for phase in PHASES
        },
        "undisturbed_exchanges": len(course.undisturbed),
        "undisturbed_median_seconds": round(statistics.median(course.undisturbed), 3),
        "each": values,
    }


def _look_until(is_there: Callable[[], bool], course: Course, processes: PeerProcesses, interrupts: Interrupts) -> None:
    """Read the logs until something is there.

    Raises:
        PeerError: if a peer ends by itself, or it does not come.
    """
    deadline = time.monotonic() + PATIENCE
    while not is_there():
        time.sleep(LOOK)
        interrupts.check()
        for event in processes.events():
            course.take(event)
        processes.raise_failure()
        if time.monotonic() > deadline:
            said = f"{course.leader} leads, {course.dispatches} dispatches, recomputed up to {course.recomputed}"
            raise PeerError(f"nothing comes any more: {said}", fix="look into the logs", code=ExitCode.UNFINISHED)


def _put(result: Json) -> None:
    """The numbers for people."""
    phases = result["median_of_phases"]
    assert isinstance(phases, dict)
    parts = ", ".join(f"{phase} {seconds}" for phase, seconds in phases.items())
    sys.stderr.write(
        f"{result['engine']}: of {result['kills']}: median {result['median_seconds']} s, "
        f"worst {result['worst_seconds']} s ({parts}); an exchange {result['undisturbed_median_seconds']} s\n"
    )


if __name__ == "__main__":
    sys.exit(ended_by(main))

"""Measures what memory a run takes: of the server, however many clients it has, and of a client.

For each case, such as 100 MB with 16 clients, real processes run an app (``memory_app``: one of Flower's strategies as
it is, and clients that change the model in place), and then the same app with next to no model (an empty run). The
difference is what the model costs; it is told in times of the model's size.

Memory is what the kernel cannot free: anonymous pages, and those of files in memory. Pages of files that are mapped it
drops and reads again if it needs room, so they are told apart (``peak_mb``, of the largest process, has both). A
process is looked at ten times a second, so a peak that is shorter may be missed.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from measured import Json, ended_by, finished_run, machine
from measured.amounts import one_or_more
from measured.case import Case
from measured.new_memory import page_cost
from measured.place import bench_folder
from measured.processes_meter import Measured, measured
from measured.tables import memory_table

from peer.base.errors import ExitCode, PeerError
from peer.demo.engines import LOCAL
from peer.demo.plan import DemoPlan
from peer.engine.chosen_engine import MANAGED

APP = Path(__file__).resolve().parent / "memory_app"
STRATEGIES = ("FedAvg", "FedMedian", "Krum")
EMPTY = 0.001
"""MB of the model of an empty run."""


_LOOK_AT_DISK = 3.0
"""Seconds between two looks at the folder, at least."""


@dataclass(frozen=True, slots=True)
class Run:
    """How a run is made."""

    engine: str
    strategy: str
    encrypt: bool
    rounds: int
    arrays: int


@dataclass(frozen=True, slots=True)
class Taken:
    """What a run took."""

    seen: Measured
    seconds: float
    most_on_disk: int
    """Bytes of all files of all nodes that have names."""

    @property
    def server(self) -> int:
        """Bytes that all processes of the server had at once."""
        return self.seen.own_peaks_together["server"]

    @property
    def client(self) -> int:
        """The same of the client that had most."""
        return max(value for node, value in self.seen.own_peaks_together.items() if node.startswith("client"))


def main() -> int:
    """Measure, and print one JSON object."""
    parser = argparse.ArgumentParser(prog="scripts/bench memory", description="Measure the memory of a run.")
    parser.add_argument("--cases", type=Case.parse, nargs="+", default=[Case(25, 4)], help="MBxCLIENTS: 100x16")
    parser.add_argument("--engine", choices=[LOCAL, MANAGED], default=LOCAL)
    parser.add_argument("--strategies", choices=STRATEGIES, nargs="+", default=["FedAvg"])
    parser.add_argument("--encrypt", action="store_true", help="measure in a federation that encrypts")
    parser.add_argument("--rounds", type=one_or_more, default=2)
    parser.add_argument("--arrays", type=one_or_more, default=20, help="how many the model is in")
    parser.add_argument("--folder", type=Path, help="keep homes, logs and engines here; by default a temporary one")
    options = parser.parse_args()
    results: list[Json] = []
    with bench_folder(options.folder) as folder:
        here = machine(page_cost(folder))
        for case in options.cases:
            for strategy in options.strategies:
                run = Run(options.engine, strategy, options.encrypt, options.rounds, options.arrays)
                empty = measure(folder / "empty", Case(EMPTY, case.clients), run)
                results.append(_result(case, run, measure(folder / "run", case, run), empty))
                _put(results[-1])
    sys.stderr.write(f"\n{memory_table(results)}\n")
    print(json.dumps({"benchmark": "memory", "machine": here, "results": results}, indent=2))
    return 0


def measure(folder: Path, case: Case, run: Run) -> Taken:
    """Make one run in a new federation.

    Raises:
        PeerError: if it fails.
    """
    plan = DemoPlan(folder, "", None, "", case.clients, run.rounds, run.engine)
    size = max(int(case.megabytes * 1e6), 4 * run.arrays)
    config = f"bytes={size} arrays={run.arrays} rounds={run.rounds} clients={case.clients} strategy='{run.strategy}'"
    most = 0
    begun = time.monotonic()
    looked = 0.0

    def look_at_disk(_: object) -> None:
        nonlocal most, looked
        if time.monotonic() - looked > _LOOK_AT_DISK:
            most = max(most, _taken_on_disk(folder))
            looked = time.monotonic()

    with measured(folder) as seen, finished_run(plan, APP, config, encrypt=run.encrypt, heard=look_at_disk):
        seconds = time.monotonic() - begun
        most = max(most, _taken_on_disk(folder))
        [result] = (plan.server.home.path / "scratch").glob("*/result.json")  # the folder of the one run
        if (rounds := json.loads(result.read_text())["rounds"]) != run.rounds:
            raise PeerError(
                f"{rounds} of {run.rounds} rounds had a result",
                fix=f"see {plan.server.home.app_log(plan.server.role)}",
                code=ExitCode.UNFINISHED,
            )
    shutil.rmtree(folder)  # models of all rounds
    return Taken(seen, seconds, most)


def _taken_on_disk(folder: Path) -> int:
    total = 0
    for where, _, files in os.walk(folder):
        for name in files:
            with contextlib.suppress(OSError):  # it is gone
                total += os.lstat(os.path.join(where, name)).st_blocks * 512
    return total


def _result(case: Case, run: Run, taken: Taken, empty: Taken) -> Json:
    model = case.megabytes * 1e6
    return {
        "engine": run.engine,
        "encrypted": run.encrypt,
        "strategy": run.strategy,
        "megabytes": case.megabytes,
        "clients": case.clients,
        "rounds": run.rounds,
        "arrays": run.arrays,
        "server_models": round((taken.server - empty.server) / model, 2),
        "client_models": round((taken.client - empty.client) / model, 2),
        "server_mb": round(taken.server / 1e6, 1),
        "client_mb": round(taken.client / 1e6, 1),
        "empty_server_mb": round(empty.server / 1e6, 1),
        "empty_client_mb": round(empty.client / 1e6, 1),
        "own_peak_mb": _of_kinds(taken.seen.own_peaks),
        "peak_mb": _of_kinds(taken.seen.peaks),
        "disk_mb": round(taken.most_on_disk / 1e6, 1),
        "seconds": round(taken.seconds, 1),
        "load_average": [round(load, 2) for load in os.getloadavg()],
    }


def _of_kinds(peaks: Mapping[tuple[str, str], int]) -> dict[str, float]:
    """In MB, the largest process of each kind."""
    largest: dict[str, float] = {}
    for (node, program), value in sorted(peaks.items()):
        if node and program:
            kind = f"{node.partition('-')[0]} {program}"
            largest[kind] = max(largest.get(kind, 0.0), round(value / 1e6, 1))
    return largest


def _put(result: Json) -> None:
    """For people, what one case took."""
    sys.stderr.write(
        f"{result['megabytes']} MB x {result['clients']} {result['strategy']}: the server {result['server_models']} "
        f"models more than an empty run, a client {result['client_models']}, in {result['seconds']} s\n"
    )


if __name__ == "__main__":
    sys.exit(ended_by(main))

"""Compares Pollen with Flower's own SuperLink and SuperNodes: the same app folder on each, in turn.

For each case, such as 100 MB with 2 clients, and in each turn, every system runs the app (``rounds_app``: FedAvg,
rounds of train and evaluate, no real training). So other work on the machine slows all of them, not one. The first
round of a run is not counted: it connects and imports. All have to come to the same model, bit for bit; otherwise this
ends with exit code 1. A run that fails or takes too long is told, and made again once or twice; if it never succeeds,
this ends with exit code 3 when the others are done.

``flower`` is Flower as its documentation says for production, ``flower-fast`` as fast as its options let it be (both in
``measured/superlink.py``); ``local``, ``kubo`` and ``kubo-encrypted`` are Pollen, with nothing chosen but that.

Per round there are: seconds by the clock; processor seconds of all processes, and of each kind of process; bytes that
each node sent to others over TCP (with ``local`` all share one directory, so none). And for the whole run the most
memory that a process of each kind had, with and without the files that it has mapped.

With ``--results FILE`` each run is written down as it ends, so nothing is lost if this is cut. A file that is there is
added to: the cases may be measured by several calls, on one machine. ``scripts/bench table`` makes tables of such files
and draws them.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Any

from measured import Json, ended_by, finished_run
from measured.amounts import new_file, one_or_more, picture, positive
from measured.case import Case
from measured.comparison import Comparison, Failure, SystemRun, system_run
from measured.new_memory import add_option
from measured.picture import draw
from measured.place import bench_place
from measured.processes_meter import measured
from measured.superlink import Setup, SuperLinkRun
from measured.tables import flower_table, largest

from peer.base.errors import ExitCode, PeerError
from peer.base.interrupts import Interrupts
from peer.demo.engines import LOCAL
from peer.demo.plan import DemoPlan
from peer.engine.chosen_engine import MANAGED

APP = Path(__file__).resolve().parent / "rounds_app"
ARRAYS = 20
WARM_UP = 1
"""Rounds of each run that are not counted."""

RESULT = "rounds.json"
"""What the ServerApp writes into its working directory."""

GIVE_UP = 3600.0
"""Seconds after which a run is given up."""

TRIES = 3
"""How often a run is made at most, until it succeeds."""


class System(StrEnum):
    """What runs the app."""

    FLOWER = "flower"
    FLOWER_FAST = "flower-fast"
    LOCAL = "local"
    KUBO = "kubo"
    KUBO_ENCRYPTED = "kubo-encrypted"


CASES = [Case.parse(text) for text in ("1x2", "1x8", "10x2", "10x8", "100x2", "100x8", "500x2")]


@dataclass(frozen=True, slots=True)
class Turn:
    """One run of one system, before it is made."""

    case: Case
    system: System
    number: int
    """Of the turn in its case, from 1 on."""


def main() -> int:
    """Measure, and print one JSON object."""
    parser = argparse.ArgumentParser(prog="scripts/bench flower", description="Compare with Flower's SuperLink.")
    parser.add_argument("--cases", type=Case.parse, nargs="+", default=CASES, help="MBxCLIENTS, for example 100x8")
    parser.add_argument("--systems", type=System, nargs="+", choices=list(System), default=list(System))
    parser.add_argument("--rounds", type=one_or_more, default=3, help="counted ones of each run")
    parser.add_argument("--turns", type=one_or_more, default=2, help="runs of each system in each case")
    parser.add_argument(
        "--results", type=new_file, help="keep what each run took here; a file that is there is added to"
    )
    parser.add_argument("--picture", type=picture, help="draw the results into this file: PNG, SVG or PDF by its name")
    parser.add_argument("--give-up", type=positive, default=GIVE_UP, help="seconds that a run may take")
    parser.add_argument("--folder", type=Path, help="logs and engines are here until a run ends; by default under /tmp")
    add_option(parser)
    options = parser.parse_args()
    with bench_place(options.folder, fill_memory=options.fill_memory) as place:
        so_far = Comparison(place.machine, options.fill_memory, [], [])
        if options.results is not None and options.results.exists():
            so_far = Comparison.read(options.results).joined(so_far)

        def run_turn(turn: Turn) -> SystemRun:
            where = place.folder / str(turn.case) / turn.system
            place.clear(where)
            try:
                return run(where, turn.system, turn.case, options.rounds + WARM_UP, options.give_up)
            finally:
                shutil.rmtree(where, ignore_errors=True)  # models of all rounds

        def keep(comparison: Comparison) -> None:
            if options.results is not None:
                comparison.write(options.results)

        compared = compare(turns(options.cases, options.systems, options.turns), so_far, run_turn, keep)
    if options.picture is not None and compared.runs:
        draw(compared.results, options.picture)
    sys.stderr.write(f"\n{flower_table(compared.results)}\n")
    print(json.dumps(compared.told, indent=2))
    compared.raise_difference()
    planned = len(options.cases) * len(options.systems) * options.turns
    return ExitCode.UNFINISHED if len(compared.runs) < len(so_far.runs) + planned else ExitCode.DONE


def turns(cases: Sequence[Case], systems: Sequence[System], count: int) -> Iterator[Turn]:
    """All runs: every system in turn, every second time in the other order."""
    for case in cases:
        for number in range(1, count + 1):
            for system in systems if number % 2 else reversed(systems):
                yield Turn(case, system, number)


def compare(
    planned: Iterator[Turn],
    so_far: Comparison,
    run_turn: Callable[[Turn], SystemRun],
    keep: Callable[[Comparison], None],
) -> Comparison:
    """Make each run, tell what it took, and ``keep`` all of them each time."""
    compared = so_far
    _put_head()
    for turn in planned:
        for attempt in range(1, TRIES + 1):
            try:
                taken = run_turn(turn)
            except PeerError as error:
                failure = Failure(turn.system, turn.case.megabytes, turn.case.clients, str(error))
                sys.stderr.write(f"{turn.case} {turn.system}, attempt {attempt} of {TRIES}: {error}\n")
                compared = replace(compared, failures=[*compared.failures, failure])
                keep(compared)
            else:
                _put(turn, taken)
                compared = replace(compared, runs=[*compared.runs, taken])
                keep(compared)
                break
    return compared


def run(folder: Path, system: System, case: Case, rounds: int, give_up: float) -> SystemRun:
    """Run the app once, in a new folder.

    Raises:
        PeerError: if it fails, or takes more than ``give_up`` seconds.
    """
    config = f"bytes={int(case.megabytes * 1e6)} arrays={ARRAYS} rounds={rounds} clients={case.clients}"
    folder.mkdir(parents=True)
    with measured(folder) as seen:
        match system:
            case System.FLOWER:
                told = _on_flower(folder, Setup.PRODUCTION, case, config, give_up)
            case System.FLOWER_FAST:
                told = _on_flower(folder, Setup.FAST, case, config, give_up)
            case System.LOCAL:
                told = _on_pollen(DemoPlan(folder, "", None, "", case.clients, rounds, LOCAL), config, give_up)
            case System.KUBO | System.KUBO_ENCRYPTED:
                plan = DemoPlan(folder, "", None, "", case.clients, rounds, MANAGED)
                told = _on_pollen(plan, config, give_up, encrypt=system is System.KUBO_ENCRYPTED)
    ends = [float(end) for end in told["ends"]]
    seconds = [end - begin for begin, end in zip(ends[WARM_UP:], ends[WARM_UP + 1 :], strict=False)]
    return system_run(system, case, told, seen, seconds, ends[-1])


def _on_flower(folder: Path, setup: Setup, case: Case, config: str, give_up: float) -> Json:
    """What the app wrote into ``rounds.json``."""
    with Interrupts() as interrupts, SuperLinkRun(folder, setup, case.clients, interrupts) as flower:
        result = flower.server_folder / RESULT
        flower.run(APP, config, result, give_up)
        return _told(result)


def _on_pollen(plan: DemoPlan, config: str, give_up: float, *, encrypt: bool = False) -> Json:
    """As `_on_flower`."""
    with finished_run(plan, APP, config, encrypt=encrypt, give_up=give_up):
        [result] = (plan.server.home.path / "scratch").glob(f"*/{RESULT}")  # the folder of the one run
        return _told(result)


def _told(result: Path) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(result.read_text())
    return told


# -- for people, as it goes ----------------------------------------------------------------------------------------

_COLUMNS = "{:<8} {:<15} {:>4} {:>10} {:>12} {:>10} {:>10} {:>6}  {}\n"


def _put_head() -> None:
    sys.stderr.write(
        _COLUMNS.format("case", "system", "turn", "s a round", "processor s", "server MB", "client MB", "load", "model")
    )


def _put(turn: Turn, taken: SystemRun) -> None:
    """What one run took: of its rounds the median, and the largest process of a server and of a client."""
    seconds = sorted(taken.seconds)[len(taken.seconds) // 2]
    server, client = (largest(taken.own_peak_mb, kind) for kind in ("server", "client"))
    sys.stderr.write(
        _COLUMNS.format(
            str(turn.case),
            turn.system,
            turn.number,
            f"{seconds:.2f}",
            f"{taken.processor_seconds / len(taken.seconds):.2f}",
            f"{server:,.0f}",
            f"{client:,.0f}",
            f"{taken.load_average[0]:.1f}",
            taken.model_sha256[:12],
        )
    )
    sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(ended_by(main))

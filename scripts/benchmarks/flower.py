"""Compares Pollen with Flower's own SuperLink and SuperNodes: the same app folder on each, in turn.

For each case, such as 100 MB with 2 clients, and in each turn, every system runs the app (``rounds_app``: FedAvg,
rounds of train and evaluate, no real training). So other work on the machine slows all of them, not one. The first
round of a run is not counted: it connects and imports. All have to come to the same model, bit for bit; otherwise this
ends with exit code 1. ``--picture FILE`` draws the results.

``flower`` is Flower as its documentation says for production, ``flower-fast`` as fast as its options let it be (both in
``federation/superlink.py``); ``local``, ``kubo`` and ``kubo-encrypted`` are Pollen, with nothing chosen but that.

Per round there are: seconds by the clock; processor seconds of all processes, and of each kind of process; bytes that
each node sent to others over TCP (with ``local`` all share one directory, so none). And for the whole run the most
memory that a process of each kind had, with and without the files that it has mapped.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import statistics
import sys
import tempfile
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from measured import Json, ended_by, finished_run, machine
from measured.case import Case
from measured.processes_meter import ALL, Key, Measured, measured
from measured.superlink import Setup, SuperLinkRun

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

CLIENT = "client"
"""What all clients' nodes are called in the results."""


class System(StrEnum):
    """What runs the app."""

    FLOWER = "flower"
    FLOWER_FAST = "flower-fast"
    LOCAL = "local"
    KUBO = "kubo"
    KUBO_ENCRYPTED = "kubo-encrypted"


CASES = [Case.parse(text) for text in ("1x2", "1x8", "10x2", "10x8", "100x2", "100x8", "500x2")]


@dataclass(frozen=True, slots=True)
class Taken:
    """What one run of one system took."""

    seconds: tuple[float, ...]
    """Of each counted round."""
    sha256: str
    losses: tuple[float, ...]
    seen: Measured
    begin: float
    end: float
    """The counted rounds, in seconds since 1970."""


def main() -> int:
    """Measure, and print one JSON object."""
    parser = argparse.ArgumentParser(prog="scripts/bench flower", description="Compare with Flower's SuperLink.")
    parser.add_argument("--cases", type=Case.parse, nargs="+", default=CASES, help="MBxCLIENTS, for example 100x8")
    parser.add_argument("--systems", type=System, nargs="+", choices=list(System), default=list(System))
    parser.add_argument("--rounds", type=int, default=3, help="counted ones of each run")
    parser.add_argument("--turns", type=int, default=2, help="runs of each system in each case")
    parser.add_argument("--picture", type=Path, help="draw the results into this file: PNG, SVG or PDF by its name")
    parser.add_argument("--folder", type=Path, help="logs and engines are here until a run ends; by default under /tmp")
    options = parser.parse_args()
    results: list[Json] = []
    with contextlib.ExitStack() as stack:
        folder = options.folder or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="pollen-bench-")))
        for case in options.cases:
            results += compare(folder / str(case), case, options.systems, options.rounds, options.turns)
    if options.picture is not None:
        draw(results, options.picture)
    print(json.dumps({"benchmark": "flower", "machine": machine(), "results": results}, indent=2))
    return 0


def compare(folder: Path, case: Case, systems: Sequence[System], rounds: int, turns: int) -> list[Json]:
    """Run all systems in turn, every second time in the other order.

    Raises:
        PeerError: if a run fails, or if two come to other models.
    """
    taken: dict[System, list[Taken]] = {system: [] for system in systems}
    for turn in range(turns):
        for system in systems if turn % 2 == 0 else reversed(systems):
            where = folder / system
            shutil.rmtree(where, ignore_errors=True)
            taken[system].append(run(where, system, case, rounds + WARM_UP))
            shutil.rmtree(where)  # models of all rounds
            _put(case, system, taken[system][-1])
    hashes = {system: {each.sha256 for each in runs} for system, runs in taken.items()}
    if len(set().union(*hashes.values())) > 1:
        told = "; ".join(f"{system}: {', '.join(sorted(found))}" for system, found in hashes.items())
        raise PeerError(
            f"the models of {case} are not the same: {told}",
            fix="this is a defect of one of the systems, or of the benchmark's app",
            code=ExitCode.VERIFICATION_FAILED,
        )
    return [_result(case, system, runs) for system, runs in taken.items()]


def run(folder: Path, system: System, case: Case, rounds: int) -> Taken:
    """Run the app once, in a new folder."""
    config = f"bytes={int(case.megabytes * 1e6)} arrays={ARRAYS} rounds={rounds} clients={case.clients}"
    folder.mkdir(parents=True)
    with measured(folder) as seen:
        match system:
            case System.FLOWER:
                told = _on_flower(folder, Setup.PRODUCTION, case, config)
            case System.FLOWER_FAST:
                told = _on_flower(folder, Setup.FAST, case, config)
            case System.LOCAL:
                told = _on_pollen(DemoPlan(folder, "", None, "", case.clients, rounds, LOCAL), config)
            case System.KUBO | System.KUBO_ENCRYPTED:
                plan = DemoPlan(folder, "", None, "", case.clients, rounds, MANAGED)
                told = _on_pollen(plan, config, encrypt=system is System.KUBO_ENCRYPTED)
    ends = [float(end) for end in told["ends"]]
    seconds = tuple(end - begin for begin, end in zip(ends[WARM_UP:], ends[WARM_UP + 1 :], strict=False))
    return Taken(seconds, str(told["sha256"]), tuple(told["losses"]), seen, ends[WARM_UP], ends[-1])


def _on_flower(folder: Path, setup: Setup, case: Case, config: str) -> dict[str, Any]:
    """What the app wrote into ``rounds.json``."""
    with Interrupts() as interrupts, SuperLinkRun(folder, setup, case.clients, interrupts) as flower:
        result = flower.server_folder / RESULT
        flower.run(APP, config, result)
        return _told(result)


def _on_pollen(plan: DemoPlan, config: str, *, encrypt: bool = False) -> dict[str, Any]:
    """As `_on_flower`."""
    with finished_run(plan, APP, config, encrypt=encrypt):
        [result] = (plan.server.home.path / "scratch").glob(f"*/{RESULT}")  # the folder of the one run
        return _told(result)


def _told(result: Path) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(result.read_text())
    return told


# -- results -------------------------------------------------------------------------------------------------------


def _result(case: Case, system: System, runs: Sequence[Taken]) -> Json:
    rounds = [seconds for taken in runs for seconds in taken.seconds]
    used = [_by_kind(taken.seen.seconds_between(taken.begin, taken.end)) for taken in runs]
    per_round = {
        key: sum(each.get(key, 0.0) for each in used) / len(rounds) for key in dict.fromkeys(k for u in used for k in u)
    }
    return {
        "system": system.value,
        "megabytes": case.megabytes,
        "clients": case.clients,
        "rounds": len(rounds),
        "median_seconds": round(statistics.median(rounds), 3),
        "fastest_seconds": round(min(rounds), 3),
        "slowest_seconds": round(max(rounds), 3),
        "processor_seconds": round(sum(used for (_, program), used in per_round.items() if program == ALL), 3),
        "processor_seconds_of": _nested({key: round(s, 3) for key, s in per_round.items() if key[1] != ALL}),
        "peak_mb": _nested(_largest([taken.seen.peaks for taken in runs])),
        "peak_mb_without_mapped_files": _nested(_largest([taken.seen.own_peaks for taken in runs])),
        "bytes_sent_per_round": _sent(runs, len(rounds)),
        "model_sha256": runs[0].sha256,
        "last_loss": runs[0].losses[-1],
        "load_average": [round(load, 2) for load in os.getloadavg()],
    }


def _by_kind(of_nodes: Mapping[Key, float]) -> dict[Key, float]:
    """The same, with all clients taken together."""
    together: dict[Key, float] = defaultdict(float)
    for (node, program), value in of_nodes.items():
        if node:
            together[_kind(node), program] += value
    return dict(together)


def _largest(peaks: Sequence[Mapping[Key, int]]) -> dict[Key, float]:
    """In MB, the largest of each kind."""
    largest: dict[Key, float] = defaultdict(float)
    for each in peaks:
        for (node, program), value in each.items():
            if node and program:
                key = _kind(node), program
                largest[key] = max(largest[key], round(value / 1e6, 1))
    return dict(largest)


def _sent(runs: Sequence[Taken], rounds: int) -> Json | None:
    sent: dict[str, int] = defaultdict(int)
    for taken in runs:
        for node, count in taken.seen.sent_between(taken.begin, taken.end).items():
            sent[node] += count
    return {node: count // rounds for node, count in sorted(sent.items())} or None


def _kind(node: str) -> str:
    return CLIENT if node.startswith(CLIENT) else node


def _nested(values: Mapping[Key, float]) -> Json:
    nodes: dict[str, dict[str, float]] = defaultdict(dict)
    for (node, program), value in sorted(values.items()):
        nodes[node][program] = value
    return dict(nodes)


def _put(case: Case, system: System, taken: Taken) -> None:
    """What one run took, for people."""
    used = sum(used for (_, program), used in taken.seen.seconds_between(taken.begin, taken.end).items() if not program)
    sys.stderr.write(
        f"{case} {system}: {statistics.median(taken.seconds):.2f} s a round, "
        f"{used / len(taken.seconds):.2f} s of processor time, model {taken.sha256[:12]}\n"
    )


# -- the picture ---------------------------------------------------------------------------------------------------

Value = Callable[[Json], float]

_PANELS: tuple[tuple[str, Value], ...] = (
    ("seconds a round", lambda result: _number(result["median_seconds"])),
    ("processor seconds a round", lambda result: _number(result["processor_seconds"])),
    ("the largest process, MB", lambda result: _largest_process(result["peak_mb"])),
)


def draw(results: Sequence[Json], file: Path) -> None:
    """Seconds, processor seconds and the largest process of each case and system, as bars on a logarithmic scale."""
    import matplotlib  # only a picture needs it, and it imports slowly

    matplotlib.use("agg")
    import matplotlib.pyplot as plt
    from matplotlib.ticker import StrMethodFormatter

    cases = list(dict.fromkeys(map(_case, results)))
    systems = list(dict.fromkeys(str(result["system"]) for result in results))
    figure, axes = plt.subplots(1, len(_PANELS), figsize=(5 * len(_PANELS), 2 + 0.25 * len(cases) * len(systems)))
    height = 0.8 / len(systems)
    for axis, (title, value) in zip(axes, _PANELS, strict=True):
        for number, system in enumerate(systems):
            mine = [result for result in results if result["system"] == system]
            places = [cases.index(_case(result)) + number * height for result in mine]
            bars = axis.barh(places, [value(result) for result in mine], height, label=system)
            axis.bar_label(bars, fmt=_short, fontsize=7, padding=2)
        axis.set_title(title)
        axis.set_xscale("log")
        axis.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        axis.set_yticks([at + 0.4 - height / 2 for at in range(len(cases))], cases)
        axis.invert_yaxis()
        axis.margins(x=0.15)
    figure.tight_layout(rect=(0.0, 0.08, 1.0, 1.0))  # below is what the colours mean
    figure.legend(*axes[0].get_legend_handles_labels(), loc="lower center", ncols=len(systems), fontsize=8)
    figure.savefig(file)
    plt.close(figure)


def _short(number: float) -> str:
    """With three digits that count."""
    return f"{number:,.0f}" if number >= 100 else f"{number:.3g}"


def _case(result: Json) -> str:
    return f"{result['megabytes']:g} MB, {result['clients']} clients"


def _number(value: object) -> float:
    assert isinstance(value, int | float)
    return float(value)


def _largest_process(peaks: object) -> float:
    assert isinstance(peaks, dict)
    return max(_number(peak) for programs in peaks.values() for peak in programs.values())


if __name__ == "__main__":
    sys.exit(ended_by(main))

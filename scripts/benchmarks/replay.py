"""Measures what an audit by replay costs, compared with the run itself and with only reading and hashing its bytes.

For each number of rounds there is one run of real processes on a `local` engine, then `peer export`, then
`peer audit --replay` of the file and of the engine, each in a separate process. Peak memory is that of the larger one
of the audit's process and its app process. The clients compute almost nothing, so a run's time is that of Pollen and
FedAvg, unless ``--train-seconds`` lets each client wait in each round.

Two audits are as on another machine, by telling this one that rounding may differ. One finds each exchange equal. The
other finds each off by one unit in the last place, goes on from the recorded model each time, and at the end runs the
app once more up to the first of them. `peer report` of the file, without a replay, is compared with `peer audit` of it.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import os
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from measured import Json, ended_by, finished_run, machine
from measured.place import bench_folder

from peer.base.errors import ExitCode, PeerError
from peer.demo.engines import LOCAL, engine_of
from peer.demo.plan import DemoPeer, DemoPlan
from peer.demo.processes import LogEvent
from peer.history.run_sources import CarSource
from peer.history.scratch import Scratch
from peer.history.walk_back import walk_back
from peer.home.federations import FederationStore
from peer.home.journal import Journal
from protocol.blocks.car import read_sections
from protocol.blocks.cid import CID, Block
from protocol.chain.chain import Chain

APP = Path(__file__).resolve().parent / "replay_app"
NO_VARIABLES: Mapping[str, str] = MappingProxyType({})


def main() -> int:
    """Measure, and print one JSON object."""
    parser = argparse.ArgumentParser(prog="scripts/bench replay", description="Time an audit by replay.")
    parser.add_argument("--rounds", type=int, nargs="+", default=[20, 100, 200])
    parser.add_argument("--megabytes", type=float, default=1.0, help="of the model, and of each reply")
    parser.add_argument("--clients", type=int, default=3)
    parser.add_argument("--train-seconds", type=float, default=0.0, help="that each client takes for a round")
    parser.add_argument("--folder", type=Path, help="keep homes, logs, engines and files here for later")
    options = parser.parse_args()
    measured = []
    with bench_folder(options.folder) as folder:
        for rounds in options.rounds:
            plan = DemoPlan(folder / f"rounds-{rounds}", "", None, "", options.clients, rounds, LOCAL)
            measured.append(measure(plan, options.megabytes, options.train_seconds))
            if options.folder is None:
                shutil.rmtree(plan.folder)  # a long run is large
    print(json.dumps({"benchmark": "replay", "machine": machine(), **_parts(measured), "results": measured}, indent=2))
    return 0


def _parts(measured: Sequence[Json]) -> Json:
    """An audit's processor time as a fixed part and one for each round, from the shortest and the longest run."""
    short, *_, long = [*measured, measured[-1]]
    rounds = long["rounds"] - short["rounds"]
    if not rounds:
        return {}
    a_round = (long["audit_processor_seconds"] - short["audit_processor_seconds"]) / rounds
    fixed = short["audit_processor_seconds"] - short["rounds"] * a_round
    return {"audit_processor_seconds": {"fixed": round(fixed, 2), "a_round": round(a_round, 4)}}


def measure(plan: DemoPlan, megabytes: float, train_seconds: float) -> Json:
    """Measure one run and its audits."""
    run_seconds = _run(plan, f"bytes={int(megabytes * 1e6)} train-seconds={train_seconds}")
    head = _head(plan.server)
    car = plan.folder / "run.car"
    home = ["--home", str(plan.server.home.path)]
    _peer(["export", str(head), str(car), *home], _file(plan, "export"))
    hashing = _hash(car)
    audited = _replay(plan, ["audit", str(car)])
    processor = _processor_seconds(plan, car)
    return {
        "rounds": plan.rounds,
        "clients": plan.clients,
        "megabytes": megabytes,
        "train_seconds": train_seconds,
        "run_seconds": round(run_seconds, 3),
        "audit_of_the_runs_time": round(audited["audit_seconds"] / run_seconds, 3),
        "audit_processor_seconds": round(processor, 3),
        "audit_processor_of_the_runs_time": round(processor / run_seconds, 3),
        "car_megabytes": round(car.stat().st_size / 1e6, 1),
        "hashing_seconds": round(hashing, 3),
        "chain_verification": _verify(car, FederationStore(plan.server.home).current().id),
        "replay_of_the_file": audited,
        "on_another_machine_and_equal": _replay(plan, ["audit", str(car)], may_differ=True),
        "on_another_machine_and_re_anchored": _replay(plan, ["audit", str(car)], may_differ=True, ROUNDS_OTHERWISE="1"),
        "replay_in_the_engine": _replay(plan, ["audit", str(head), "--ipfs", engine_of(plan)]),
        "report_of_the_file": _report(plan, car),
        "load_average": [round(load, 2) for load in os.getloadavg()],
    }


def _run(plan: DemoPlan, config: str) -> float:
    """Run it. Returns the seconds from the first dispatch to the end of the run."""
    at: dict[str, float] = {}

    def heard(event: LogEvent) -> None:
        at.setdefault(event.what.value, time.perf_counter())

    with finished_run(plan, APP, f"{config} rounds={plan.rounds} clients={plan.clients}", heard=heard):
        return at["run-closed"] - at["dispatched"]


def _head(server: DemoPeer) -> CID:
    with Journal(server.home.journal) as journal:
        (run,) = journal.heads()
    return run.head


def _hash(car: Path) -> float:
    """The seconds that it takes to read and hash the file's blocks, when it is in the system's cache."""
    with car.open("rb") as file:
        while file.read(1 << 20):
            pass
        file.seek(0)
        begun = time.perf_counter()
        for section in read_sections(file)[1]:
            hashlib.sha256(section.data).digest()
        return time.perf_counter() - begun


def _verify(car: Path, federation: CID) -> Json:
    """Walk the chain back and verify it by every rule, without contents. The processor time is independent of the
    machine's load."""
    chain, replies = Chain(federation), 0
    with contextlib.closing(CarSource(car)) as source, Scratch() as scratch:
        begun, own = time.perf_counter(), time.process_time()
        walk_back(source.roots[0], source, scratch, None)
        for cid in scratch.oldest_first():
            step = chain.append_block(Block(cid, source.get(cid)), source)
            replies += sum(answered.reply is not None for answered in step.answered)
        seconds, own = time.perf_counter() - begun, time.process_time() - own
    records = chain.height + 1
    return {
        "seconds": round(seconds, 3),
        "cpu_seconds": round(own, 3),
        "records": records,
        "replies": replies,
        "records_per_cpu_second": round(records / own),
        "records_and_replies_per_cpu_second": round((records + replies) / own),
    }


def _replay(plan: DemoPlan, command: list[str], *, may_differ: bool = False, **variables: str) -> Json:
    """Audit by replay in a separate process, as people do. The server's home has the keys."""
    words = [*command, "--replay", "--app", str(APP), "--json", "--home", str(plan.server.home.path)]
    program = ["-c", _ON_ANOTHER_MACHINE] if may_differ else ["-m", "peer"]
    words += [word for name in variables for word in ("--allow-env", name)]
    begun = time.perf_counter()
    report, peak = _peer(words, _file(plan, "audit"), program, variables)
    seconds = time.perf_counter() - begun
    expected = "inconclusive" if variables else "verified"
    if report["verdict"] != expected:
        raise PeerError(f"the run is {report['verdict']}: {report['findings']}", code=ExitCode.VERIFICATION_FAILED)
    replay = report["replay"]
    return {
        "audit_seconds": round(seconds, 3),
        "replay_seconds": replay["seconds"],
        "of_it_imports": replay["import_seconds"],
        "messages_compared": replay["messages"],
        "exchanges_re_anchored": replay["undecided"],
        "peak_megabytes": round(peak / 1e6, 1),
    }


def _processor_seconds(plan: DemoPlan, car: Path) -> float:
    """The processor time of an audit by replay, which other work on the machine changes less than the time that it
    takes. The app is not confined, because nobody counts what a confined process used before it was ended."""
    words = ["audit", str(car), "--replay", "--unconfined", "--app", str(APP), "--home", str(plan.server.home.path)]
    usage = _usage(words, _file(plan, "audit"))
    return usage.ru_utime + usage.ru_stime


_ON_ANOTHER_MACHINE = """
import sys
from peer.audit import replay
from peer.cli.main import main
from protocol.replay.differences import Cause

replay.cause_of = lambda *_: Cause.ROUNDING
main()
"""


def _report(plan: DemoPlan, car: Path) -> Json:
    """A report, without a replay, beside a plain audit: it adds measuring updates, drawing and writing. Both are told
    in seconds of the processor, which other work on the machine changes less."""
    home = ["--home", str(plan.server.home.path)]
    audit = _usage(["audit", str(car), *home], _file(plan, "audit"))
    page = plan.folder / "report.html"
    report = _usage(["report", str(car), "-o", str(page), "--no-replay", *home], _file(plan, "report"))
    return {
        "audit_cpu_seconds": round(audit.ru_utime + audit.ru_stime, 3),
        "report_cpu_seconds": round(report.ru_utime + report.ru_stime, 3),
        "audit_peak_megabytes": round(_peak(audit) / 1e6, 1),
        "report_peak_megabytes": round(_peak(report) / 1e6, 1),
        "page_megabytes": round(page.stat().st_size / 1e6, 2),
    }


def _file(plan: DemoPlan, name: str) -> Path:
    return plan.folder / f"{name}.out"


def _peer(
    words: list[str], out: Path, program: Sequence[str] = ("-m", "peer"), variables: Mapping[str, str] = NO_VARIABLES
) -> tuple[Json, int]:
    """Run ``peer``. Returns its ``--json`` object, and the peak memory of its largest process, in bytes."""
    usage = _usage(words, out, program, variables)
    report = json.loads(out.read_text()) if "--json" in words else {}
    return report, _peak(usage)


def _usage(
    words: list[str], out: Path, program: Sequence[str] = ("-m", "peer"), variables: Mapping[str, str] = NO_VARIABLES
) -> resource.struct_rusage:
    """Run ``peer``. Returns the resources that its processes used."""
    with out.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, *program, *words], stdout=file, stdin=subprocess.DEVNULL, env={**os.environ, **variables}
        )
        _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode not in (ExitCode.DONE, ExitCode.UNFINISHED if variables else ExitCode.DONE):
        raise PeerError(f"peer {words[0]} ended with {process.returncode}", fix=f"see {out}", code=ExitCode.UNFINISHED)
    return usage


def _peak(usage: resource.struct_rusage) -> int:
    return usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)


if __name__ == "__main__":
    sys.exit(ended_by(main))

"""Measures the processor time to resume a long run (`run_to_resume`) and to show it again (`peer history`).

The tests' scribe writes the chain into a local engine. Each exchange is one message to one client, and contents are
only links. With ``--simulate``, simulated federations (tests/simulation) are measured too.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
TESTS = ROOT / "tests"
FOLDERS = (".", "protocol", "simulation/world", "simulation/trouble")
sys.path[:0] = [str(ROOT), *(str(TESTS / folder) for folder in FOLDERS)]

from chains import SERVER, Scribe, reader_of  # noqa: E402  # after the path is set
from measured import Json, machine  # noqa: E402
from sim_faults import CALM  # noqa: E402
from simulation import Scenario, Simulation  # noqa: E402

from peer.engine.local.engine import LocalEngine  # noqa: E402
from peer.history.run_to_resume import run_to_resume  # noqa: E402
from peer.home.home import Home  # noqa: E402
from peer.home.journal import Journal, RunHead  # noqa: E402
from protocol.blocks.cid import CID, Block  # noqa: E402
from protocol.federation.epochs import seed_block  # noqa: E402
from protocol.records.bodies import Role  # noqa: E402


def main() -> int:
    """Measure, and print one JSON object."""
    parser = argparse.ArgumentParser(prog="scripts/bench resume", description="Time what a long chain costs.")
    parser.add_argument("--records", type=int, default=4000, help="records in the chain")
    parser.add_argument("--simulate", type=int, nargs="*", default=[], metavar="CLIENTS", help="simulated federations")
    parser.add_argument("--resume", nargs=2, metavar=("FOLDER", "FEDERATION"), help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, default=None, help="where to work")
    options = parser.parse_args()
    if options.resume is not None:
        print(_resume(Path(options.resume[0]), CID.parse(options.resume[1])))
        return 0
    results: list[Json] = []
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        if options.records:
            results += _chain(Path(folder), options.records)
    for clients in options.simulate:
        simulation = Simulation(Scenario(clients=clients, rounds=3), CALM, seed=0)
        results.append({"what": "simulate", "clients": clients, "rounds": 3, "cpu_seconds": _cpu(simulation.run)})
    print(json.dumps({"benchmark": "resume", "machine": machine(), "results": results}, indent=2))
    return 0


def _chain(folder: Path, records: int) -> list[Json]:
    scribe = Scribe()
    seed = seed_block(bytes(32), None)
    scribe.source.add(seed)
    scribe.add(scribe.run(seed=seed.cid))
    scribe.fill_until(records - 1)
    engine = LocalEngine(folder / "engine")
    engine.put(Block(cid, data) for cid, data in scribe.source.items())
    home = Home(folder / "home").create()
    chain = scribe.chain
    assert chain.head is not None
    with Journal(home.journal) as journal:
        head = RunHead(
            chain.run, scribe.first.cid, chain.head, chain.height, 1, False, Role.SERVER, engine.address, time.time()
        )
        journal.keep_head(head)

    results: list[Json] = []
    for number in (1, 2):  # in new processes, which have verified nothing yet, as after a crash
        words = [sys.executable, __file__, "--resume", str(folder), str(scribe.first.cid)]
        told = subprocess.run(words, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, check=True)
        taken = float(told.stdout)
        results.append({"what": "resume", "time": number, "records": records, "cpu_seconds": taken})
    words = [sys.executable, "-m", "peer", "history", str(chain.run), "--json"]
    words += ["--home", str(home.path), "--ipfs", engine.address]
    for number in (1, 2):
        begin = os.times().children_user + os.times().children_system
        subprocess.run(words, cwd=ROOT, stdout=subprocess.DEVNULL, check=True)
        taken = os.times().children_user + os.times().children_system - begin
        results.append({"what": "history", "time": number, "records": records, "cpu_seconds": round(taken, 3)})
    engine.close()
    return results


def _cpu(work: Callable[[], object]) -> float:
    begin = time.process_time()
    work()
    return round(time.process_time() - begin, 3)


def _resume(folder: Path, federation: CID) -> float:
    """The processor time of `run_to_resume` alone."""
    with Journal(Home(folder / "home").journal) as journal:
        engine = LocalEngine(folder / "engine")
        return _cpu(lambda: run_to_resume(journal, federation, reader_of(SERVER), engine))


if __name__ == "__main__":
    raise SystemExit(main())

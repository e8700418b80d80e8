"""Measures the disk that a long run takes if its homes have a budget and it drops its updates.

One run of real processes on a `local` engine, in a directory that all homes share. Each home has the budget. While it
runs, the bytes of all blocks in the directory are measured once a second, and what each home holds of them. Then
`peer audit` verifies the chain, and a replay says what was not kept by policy.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from measured import Json, ended_by, finished_run, machine
from measured.place import bench_folder

from peer.base.errors import ExitCode, PeerError
from peer.demo.engines import LOCAL
from peer.demo.plan import DemoPeer, DemoPlan
from peer.home.journal import Journal
from peer.keeping.disk_use import tree_size
from protocol.keeping.budget import parse_budget
from protocol.keeping.home_plan import Keeping

APP = Path(__file__).resolve().parent / "replay_app"
EVERY = 1.0
"""Seconds between two looks at the disk."""


def main() -> int:
    """Measure, and print one JSON object."""
    parser = argparse.ArgumentParser(prog="scripts/bench budget", description="Run within a budget of disk.")
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--megabytes", type=float, default=10.0, help="of the model, and of each reply")
    parser.add_argument("--clients", type=int, default=3)
    parser.add_argument("--budget", default="2G", help="of each home")
    parser.add_argument("--keep", default="", help="the run's plan, besides --drop-updates")
    parser.add_argument("--folder", type=Path, help="keep homes, logs and the engine here for later")
    options = parser.parse_args()
    with bench_folder(options.folder) as folder:
        plan = DemoPlan(folder / "run", "", None, "", options.clients, options.rounds, LOCAL)
        measured = measure(plan, options.megabytes, options.budget, options.keep)
    print(json.dumps({"benchmark": "budget", "machine": machine(), **measured}, indent=2))
    return 0


def measure(plan: DemoPlan, megabytes: float, budget: str, keep: str) -> Json:
    """Measure one run, and audit it."""
    peaks = Peaks(plan)
    config = f"bytes={int(megabytes * 1e6)} rounds={plan.rounds} clients={plan.clients}"
    words = ["--drop-updates", *(["--keep", keep] if keep else [])]
    pauses = 0

    def heard(event: object) -> None:
        nonlocal pauses
        pauses += getattr(event, "what", None) == "paused"

    begun = time.perf_counter()
    with (
        peaks.watching(),
        finished_run(plan, APP, config, server_words=words, joined=lambda: _give(plan, budget), heard=heard),
    ):
        seconds = time.perf_counter() - begun
    audit, replay = _audit(plan), _audit(plan, "--replay", "--app", str(APP))
    return {
        "rounds": plan.rounds,
        "clients": plan.clients,
        "megabytes": megabytes,
        "budget": budget,
        "keep": keep,
        "run_seconds": round(seconds, 1),
        "pauses": pauses,
        "written_megabytes": round(plan.rounds * (1 + plan.clients) * megabytes),
        "peak_megabytes": {name: round(size / 1e6, 1) for name, size in peaks.most.items()},
        "left_megabytes": round(tree_size(plan.folder / "engine" / "blocks") / 1e6, 1),
        "audit": audit,
        "replay": replay,
    }


class Peaks:
    """The most bytes that were on the disk."""

    def __init__(self, plan: DemoPlan) -> None:
        self._plan = plan
        self._over = threading.Event()
        self.most: dict[str, int] = {}
        """Of all blocks, and of those that each home holds."""

    @contextlib.contextmanager
    def watching(self) -> Iterator[None]:
        """Look until the context ends."""
        thread = threading.Thread(target=self._run, daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._over.set()
            thread.join()

    def _run(self) -> None:
        while not self._over.wait(EVERY):
            self._note("all blocks", tree_size(self._plan.folder / "engine" / "blocks"))
            for peer in self._plan.peers:
                self._note(peer.name, _held(peer))

    def _note(self, name: str, size: int) -> None:
        self.most[name] = max(size, self.most.get(name, 0))


def _held(peer: DemoPeer) -> int:
    if not peer.home.journal.exists():
        return 0
    with Journal(peer.home.journal) as journal:
        return journal.contents.used_in_all()


def _give(plan: DemoPlan, budget: str) -> None:
    for peer in plan.peers:
        with Journal(peer.home.journal) as journal:
            journal.remember_keeping(str(Keeping(budget=parse_budget(budget))))


def _audit(plan: DemoPlan, *words: str) -> Json:
    """What an audit in the server's home says."""
    home = ["--home", str(plan.server.home.path), "--json"]
    done = subprocess.run(
        [sys.executable, "-m", "peer", "audit", "latest", *words, *home],
        capture_output=True,
        env=os.environ,
        check=False,
    )
    if not done.stdout:
        raise PeerError(f"peer audit says nothing: {done.stderr.decode()}", code=ExitCode.UNFINISHED)
    told = json.loads(done.stdout)
    return {
        "code": done.returncode,
        "verdict": told.get("verdict"),
        "height": told.get("height"),
        "findings": len(told.get("findings", ())),
        "not_kept": told.get("not_kept"),
        "replay": told.get("replay"),
        "said": done.stderr.decode()[-600:],
    }


if __name__ == "__main__":
    sys.exit(ended_by(main))

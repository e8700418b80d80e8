"""What the benchmarks share: how they start peers, and which machine they ran on."""

from __future__ import annotations

import contextlib
import os
import platform
from pathlib import Path

from peer.demo.engines import engine_of
from peer.demo.plan import FEDERATION, DemoPeer, DemoPlan
from protocol.records.bodies import Role

Json = dict[str, object]


def start_words(plan: DemoPlan, peer: DemoPeer, app: Path, run_config: str) -> list[str]:
    """The words after ``peer`` that start one peer of a benchmark's federation with ``app``."""
    words = ["start", "--role", peer.role.value, "--app", str(app), "--home", str(peer.home.path), "--json", "-v"]
    words += ["--ipfs", engine_of(plan), "--federation", FEDERATION, "--identity", peer.name]
    if peer.role is Role.SERVER:
        return [*words, "--min-clients", str(plan.clients), "--run-config", run_config]
    return [*words, "--once", "--node-config", f"partition-id={peer.partition}"]


def machine() -> Json:
    """The machine, on which the numbers depend."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "platform": platform.platform(),
        "cpu": _cpu(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory_gb": round(memory / 1e9, 1),
        "python": platform.python_version(),
        "load_average": [round(load, 2) for load in os.getloadavg()],
    }


def _cpu() -> str:
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor()

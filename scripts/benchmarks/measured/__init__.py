"""What the benchmarks share: a run of real processes, and which machine they ran on."""

from __future__ import annotations

import contextlib
import math
import os
import platform
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from measured.new_memory import PageCost
from peer.base.errors import ExitCode, PeerError
from peer.base.interrupts import Interrupts
from peer.demo.engines import DemoEngines, engine_of
from peer.demo.founding import found, join
from peer.demo.plan import FEDERATION, DemoPeer, DemoPlan
from peer.demo.processes import LogEvent, PeerProcesses
from peer.engine.interface import Engine
from protocol.records.bodies import Role
from protocol.roles.effects import What

Json = dict[str, object]


LOOK = 0.02
"""Seconds between two looks at what the peers say."""


def ended_by(main: Callable[[], int]) -> int:
    """Run a benchmark, and tell what keeps it from ending well. Returns its exit code."""
    try:
        return main()
    except PeerError as error:
        sys.stderr.write(f"error: {error}\n  fix: {error.fix}\n")
        return error.exit_code
    except KeyboardInterrupt:
        sys.stderr.write("interrupted\n")
        return 128 + signal.SIGINT


@contextlib.contextmanager
def finished_run(
    plan: DemoPlan,
    app: Path,
    run_config: str,
    *,
    encrypt: bool = False,
    server_words: Sequence[str] = (),
    joined: Callable[[], None] = lambda: None,
    heard: Callable[[LogEvent], None] = lambda _: None,
    give_up: float = math.inf,
) -> Iterator[Engine]:
    """Found a federation in an empty folder, and run all its peers to the end of one run of ``app``.

    Yields the server's engine, while the peers' own engines are still there. ``server_words`` are more words for its
    command line, ``joined`` is called once all homes are there, ``heard`` is told what each peer says.

    Raises:
        PeerError: if a peer ends in another way, an app process is lost, or the run does not end within ``give_up``
            seconds.
    """
    shutil.rmtree(plan.folder, ignore_errors=True)
    with Interrupts() as interrupts:
        federation = found(plan, encrypt=encrypt)
        with DemoEngines(plan, federation) as engine:
            join(plan, federation, engine.addresses())
            joined()
            with PeerProcesses(interrupts) as processes:
                for peer in plan.peers:
                    processes.start(peer, start_words(plan, peer, app, run_config, server_words), engine_of(plan))
                deadline = time.monotonic() + give_up
                while not processes.ended:
                    processes.raise_failure()
                    if time.monotonic() > deadline:
                        raise not_ended(give_up, plan.folder)
                    for event in processes.events():
                        raise_if_lost(event, plan.folder)
                        heard(event)
                    time.sleep(LOOK)
                processes.raise_failure()
                yield engine


def raise_if_lost(event: LogEvent, folder: Path) -> None:
    """Give up if an app process was lost: another replays what is recorded and goes on, and measures how quick that is.

    Raises:
        PeerError: if the event tells so.
    """
    if event.what is What.APP_LOST:
        why = f"the app process of {event.peer} was lost, so another began again: {event.text('why')}"
        raise PeerError(why, fix=f"see the logs in {folder}", code=ExitCode.UNFINISHED)


def not_ended(give_up: float, folder: Path) -> PeerError:
    """What is told of a run that was given up."""
    return PeerError(
        f"the run did not end within {give_up:g} s", fix=f"see the logs in {folder}", code=ExitCode.UNFINISHED
    )


def start_words(
    plan: DemoPlan,
    peer: DemoPeer,
    app: Path,
    run_config: str,
    server_words: Sequence[str] = (),
    *,
    stands_by: bool | None = None,
) -> list[str]:
    """The words after ``peer`` that start one peer of a benchmark's federation with ``app``. ``stands_by``: whether a
    server leads no run; None: as the plan has it."""
    words = ["start", "--role", peer.role.value, "--app", str(app), "--home", str(peer.home.path), "--json", "-v"]
    words += ["--ipfs", engine_of(plan), "--federation", FEDERATION, "--identity", peer.name]
    if peer in plan.standby_peers if stands_by is None else stands_by:
        return [*words, "--standby", "--once"]
    if peer.role is Role.SERVER:
        return [*words, "--min-clients", str(plan.clients), "--run-config", run_config, *server_words]
    return [*words, "--once", "--node-config", f"partition-id={peer.partition}"]


def machine(page_cost: PageCost | None = None) -> Json:
    """The machine, on which the numbers depend, and its load now. ``page_cost``: of memory, if much is used."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "platform": platform.platform(),
        "cpu": _cpu(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory_gb": round(memory / 1e9, 1),
        "python": platform.python_version(),
        "load_average": [round(load, 2) for load in os.getloadavg()],
        **({} if page_cost is None else {"page_cache_ms_a_mib": page_cost.told}),
    }


def _cpu() -> str:
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor()

"""How much a confined app may take: bounds that each of its processes has from the kernel, and a watch over them all.

No memory group (cgroup) is needed, which few users may make. The kernel bounds what one process may have in memory of
its own (``RLIMIT_DATA``, getrlimit(2)); the space of addresses (``RLIMIT_AS``) it does not bound, which torch and an
emulator reserve without using it. The watch bounds the sum, and the number of processes and threads.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from peer.confinement.rules import Confinement

MAX_OPEN: Final = 4096
"""Files, sockets and pipes that one process may have open."""

_PAGE: Final = os.sysconf("SC_PAGE_SIZE")


def bounds_of(confinement: Confinement) -> str:
    """What `peer.confinement.restrict` sets. That of processes counts all those of this user, on old kernels at
    least."""
    bounds = {
        "DATA": confinement.memory,
        "NPROC": confinement.processes + _tasks_of_user(),
        "NOFILE": MAX_OPEN,
        "CORE": 0,
    }
    return ",".join(f"{name}={most}" for name, most in bounds.items())


@dataclass(frozen=True, slots=True)
class Usage:
    """What a process and those that it started take."""

    processes: int
    """With their threads."""
    memory: int
    """Bytes in memory; what several share counts for each."""


def exceeded(usage: Usage, confinement: Confinement) -> str:
    """Why that is too much; empty if it is not."""
    if usage.processes > confinement.processes:
        return f"it was ended, as it started more than the {confinement.processes} processes that it may have"
    if usage.memory > confinement.memory:
        most = f"{confinement.memory / 1e9:.2f} GB of memory"
        return f"it was ended, as it took more than the {most} that it may have; --max-memory SIZE gives it more"
    return ""


class Watch:
    """Looks at a confined process, whose descendants are all that it has started: none can leave it."""

    interval: Final = 0.5
    """Seconds between two looks."""

    def __init__(self, process: int, confinement: Confinement) -> None:
        self._process = process
        self._confinement = confinement

    def exceeded(self) -> str:
        """Why what they take is too much; empty if it is not."""
        tasks = _descendants(self._process)
        usage = Usage(sum(task.threads for task in tasks), sum(task.resident for task in tasks))
        why = exceeded(usage, self._confinement)
        if not why or usage.processes > self._confinement.processes:
            return why
        # what processes share, as after a fork, is counted once before anybody is ended for it
        return exceeded(Usage(usage.processes, sum(_proportional(task.pid) for task in tasks)), self._confinement)


@dataclass(frozen=True, slots=True)
class _Task:
    pid: int
    parent: int
    threads: int
    resident: int


def _descendants(process: int) -> list[_Task]:
    """The process and those below it."""
    children: dict[int, list[_Task]] = {}
    for task in _tasks():
        children.setdefault(task.parent, []).append(task)
    found: list[_Task] = []
    pending = [process]
    while pending:
        below = children.pop(pending.pop(), [])
        found += below
        pending += [task.pid for task in below]
    return found


def _tasks() -> Iterator[_Task]:
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it has ended
            fields = (folder / "stat").read_text(errors="replace").rpartition(")")[2].split()  # proc(5)
            yield _Task(int(folder.name), int(fields[1]), int(fields[17]), int(fields[21]) * _PAGE)


def _proportional(process: int) -> int:
    """The bytes of a process, a page that several share divided among them."""
    with suppress(OSError):
        for line in Path(f"/proc/{process}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) << 10
    return 0


def _tasks_of_user() -> int:
    count = 0
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if folder.stat().st_uid == os.getuid():
                count += sum(1 for _ in (folder / "task").iterdir())
    return count

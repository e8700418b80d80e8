"""How much a confined app may take. The kernel bounds each of its processes; `peer.confinement.watch` looks at all.

No memory group (cgroup) is needed, which few users may make. The kernel bounds what one process may have in memory of
its own (``RLIMIT_DATA``, getrlimit(2)); the space of addresses (``RLIMIT_AS``) it does not bound, which torch and an
emulator reserve without using it.
"""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from peer.confinement.rules import Confinement

MAX_OPEN: Final = 4096
"""Files, sockets and pipes that one process may have open."""

MAX_ALL_OPEN: Final = 1 << 16
"""The same of all processes of an app together. The kernel keeps memory for each."""

MAX_FILES: Final = 1 << 18
"""Files and folders that an app may have made. Each takes the kernel's time when it is removed."""


def bounds_of(confinement: Confinement) -> str:
    """What `peer.confinement.restrict` sets. That of processes counts all those of this user, on old kernels at
    least."""
    bounds = {
        "DATA": confinement.memory,
        "NPROC": confinement.processes + _tasks_of_user(),
        "NOFILE": MAX_OPEN,
        "FSIZE": confinement.disk,
        "CORE": 0,
    }
    return ",".join(f"{name}={most}" for name, most in bounds.items())


@dataclass(frozen=True, slots=True)
class Usage:
    """What an app's processes take together."""

    processes: int = 0
    """With their threads."""
    memory: int = 0
    """Bytes: in memory or swapped out, of the kernel's own for them, and of files that are kept in memory."""
    descriptors: int = 0
    """What they have open."""
    disk: int = 0
    """Bytes of their files."""
    files: int = 0


def exceeded(usage: Usage, confinement: Confinement) -> str:
    """Why that is too much; empty if it is not."""
    if usage.processes > confinement.processes:
        return f"it was ended, as it started more than the {confinement.processes} processes that it may have"
    if usage.descriptors > MAX_ALL_OPEN:
        return f"it was ended, as it had more than {MAX_ALL_OPEN} files, sockets and pipes open"
    if usage.memory > confinement.memory:
        most = f"{confinement.memory / 1e9:.2f} GB of memory"
        return f"it was ended, as it took more than the {most} that it may have; --max-memory SIZE gives it more"
    if usage.disk > confinement.disk:
        most = f"{confinement.disk / 1e9:.2f} GB"
        return f"it was ended, as its files took more than the {most} that they may have; --max-disk SIZE gives it more"
    if usage.files > MAX_FILES:
        return f"it was ended, as it made more than {MAX_FILES} files"
    return ""


def _tasks_of_user() -> int:
    count = 0
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if folder.stat().st_uid == os.getuid():
                count += sum(1 for _ in (folder / "task").iterdir())
    return count

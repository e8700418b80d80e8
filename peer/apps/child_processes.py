"""Finds the processes that an app has started, by a mark in their environment.

A signal to the group misses a process that has left it (``setsid``, as daemons do). But each child inherits the
environment, and Linux shows that in ``/proc``. Elsewhere only the group is reached.
"""

from __future__ import annotations

import os
import secrets
import signal
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

MARK: Final = "POLLEN_APP_PROCESS"
"""The variable with the mark. An app process and all its children have the same value."""


def new_mark() -> str:
    """A mark for one app process."""
    return secrets.token_hex(16)


def signal_marked(mark: str, number: int) -> bool:
    """Signal all processes with this mark but our own; 0 only looks. Returns whether there were any."""
    found = False
    for process in _marked(mark):
        with suppress(ProcessLookupError, PermissionError):
            os.kill(process, number)
            found = True
    return found


def lives(group: int) -> bool:
    """Whether a process of the group runs. One that has ended and that nobody has waited for takes signals too, and
    in a container without an init that may be for ever. If the system does not show it, the answer is yes."""
    processes = list(Path("/proc").glob("[0-9]*/stat"))
    return not processes or any(_is_alive_in(group, process) for process in processes)


def _is_alive_in(group: int, process: Path) -> bool:
    with suppress(OSError):
        state, _, of_group = process.read_text(errors="replace").rpartition(")")[2].split()[:3]  # proc(5)
        return int(of_group) == group and state != "Z"
    return False


def kill_marked(mark: str) -> None:
    """Kill all processes with this mark but our own, and those that they start meanwhile."""
    for _ in range(10):
        if not signal_marked(mark, signal.SIGKILL):
            return


def _marked(mark: str) -> Iterator[int]:
    wanted = f"{MARK}={mark}".encode()
    for folder in Path("/proc").glob("[0-9]*"):
        process = int(folder.name)
        with suppress(OSError):  # it has ended, or belongs to another user
            if process != os.getpid() and wanted in (folder / "environ").read_bytes().split(b"\0"):
                yield process  # never a zombie: its environment is empty

"""Finds the processes that an app has started, by a mark in their environment.

A signal to the group misses a process that has left it (``setsid``, as daemons do). But each child inherits the
environment, and Linux shows that in ``/proc``. Elsewhere only the group is reached.
"""

from __future__ import annotations

import os
import secrets
import signal
from contextlib import suppress
from pathlib import Path
from typing import Final

MARK: Final = "POLLEN_APP_PROCESS"
"""The variable with the mark. An app process and all its children have the same value."""

_PROCESSES: Final = Path("/proc")


def new_mark() -> str:
    """A mark for one app process."""
    return secrets.token_hex(16)


class Marked:
    """The processes with one mark but our own, from one look to the next."""

    def __init__(self, mark: str) -> None:
        self._wanted = f"{MARK}={mark}".encode()
        self._found: set[int] = set()
        """Those that had the mark when they were looked at, and have not ended since."""

    def signal(self, number: int) -> bool:
        """Signal them; 0 only looks. Returns whether one of them runs, or may: what mark a process has that is just
        starting shows a moment later, and one that is ending has none any more."""
        self._found = {process for process in self._found if _is_alive(_stat(process))}
        is_starting = False
        for process in _all():
            match self._has_mark(process):
                case None:
                    is_starting = True
                case True:
                    with suppress(ProcessLookupError, PermissionError):
                        os.kill(process, number)
                        self._found.add(process)
        return bool(self._found) or is_starting

    def _has_mark(self, process: int) -> bool | None:
        """None if the kernel has not filled in yet what shows it."""
        folder = _PROCESSES / str(process)
        with suppress(OSError):  # it has ended, or belongs to another user
            if process != os.getpid():
                environment = (folder / "environ").read_bytes()
                if not environment and not (folder / "cmdline").read_bytes():
                    (folder / "exe").readlink()  # raises for a thread of the kernel and a zombie, which have no program
                    return None
                return self._wanted in environment.split(b"\0")
        return False


def lives(group: int) -> bool:
    """Whether a process of the group runs. One that has ended and that nobody has waited for takes signals too, and
    in a container without an init that may be for ever. If the system does not show it, the answer is yes."""
    processes = _all()
    return not processes or any(_is_alive(stat) and stat[2] == str(group) for stat in map(_stat, processes))


def _all() -> list[int]:
    return [int(folder.name) for folder in _PROCESSES.glob("[0-9]*")]


def _stat(process: int) -> list[str]:
    """The fields from its state on (proc(5)); none if it has ended."""
    with suppress(OSError):
        return (_PROCESSES / str(process) / "stat").read_text(errors="replace").rpartition(")")[2].split()
    return []


def _is_alive(stat: list[str]) -> bool:
    return bool(stat) and stat[0] != "Z"


def kill_marked(mark: str) -> None:
    """Kill all processes with this mark but our own, and those that they start meanwhile."""
    marked = Marked(mark)
    for _ in range(10):
        if not marked.signal(signal.SIGKILL):
            return

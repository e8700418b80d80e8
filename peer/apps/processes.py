"""The processes that an app has started, found by a mark in their environment, wherever they went.

A process that leaves its group (``setsid``, as daemons do) is reached by no signal to the group, and one whose parent
has ended belongs to nobody. Its environment it inherits. Linux shows that in ``/proc``; elsewhere the group is all.
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
"""The variable that every process of one app process has, with the same value."""


def new_mark() -> str:
    """A value that no other app process has."""
    return secrets.token_hex(16)


def signal_marked(mark: str, number: int) -> bool:
    """Send a signal to all processes with this mark but the caller's, 0 for none; whether there was any."""
    found = False
    for process in _marked(mark):
        with suppress(ProcessLookupError, PermissionError):
            os.kill(process, number)
            found = True
    return found


def kill_marked(mark: str, *, times: int = 10) -> None:
    """Kill all processes with this mark but the caller's, and what they have started meanwhile."""
    for _ in range(times):
        if not signal_marked(mark, signal.SIGKILL):
            return


def _marked(mark: str) -> Iterator[int]:
    wanted = f"{MARK}={mark}".encode()
    for folder in Path("/proc").glob("[0-9]*"):
        process = int(folder.name)
        with suppress(OSError):  # it has ended, or is somebody else's
            if process != os.getpid() and wanted in (folder / "environ").read_bytes().split(b"\0"):
                yield process  # the environment of one that has ended, and is yet to be waited for, is empty

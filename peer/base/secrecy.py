"""Keeps the memory of this process private, because keys and passphrases are in it."""

from __future__ import annotations

import ctypes
import logging
import os
import sys
from typing import Final

from peer.base import logs, posix

_PR_SET_DUMPABLE: Final = 4  # linux/prctl.h


def keep_memory_private() -> None:
    """From now on a crash writes no core file, and other processes of this user cannot read our memory.

    On Linux the process is not *dumpable* (prctl(2)). So a core handler such as systemd-coredump does not get its
    memory, and the app that runs here can neither attach to it nor read its environment in ``/proc``. Its child
    processes are dumpable.
    """
    posix.write_no_core_file()
    if sys.platform == "linux" and ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0) != 0:
        logs.event("memory-not-private", logging.WARNING, why=os.strerror(ctypes.get_errno()))

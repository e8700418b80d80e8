"""Keeping what is in this process's memory to this process: keys and passphrases are there while it runs."""

from __future__ import annotations

import ctypes
import logging
import os
import resource
import sys
from typing import Final

from peer.base import logs

_PR_SET_DUMPABLE: Final = 4  # linux/prctl.h


def keep_memory_private() -> None:
    """No core file is written when this process crashes, and no other process of this user reads its memory.

    On Linux the process is not *dumpable* (prctl(2)): nor does a core handler such as systemd-coredump get its memory,
    nor may the app that runs here attach to it, or read its environment in ``/proc``. The processes it starts are.
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux" and ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0) != 0:
        logs.event("memory-not-private", logging.WARNING, why=os.strerror(ctypes.get_errno()))

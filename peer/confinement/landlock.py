"""Landlock, by system call: what namespaces leave open once an app has the network.

Abstract Unix sockets (unix(7)) have no file, and belong to the network: whoever has that reaches those of the desktop
or of a container's manager. Since its interface number 6, Landlock keeps a process from them, and from signalling
others: https://docs.kernel.org/userspace-api/landlock.html
"""

from __future__ import annotations

import ctypes
import os
import struct
import sys
from typing import Final

_CREATE_RULESET, _RESTRICT_SELF = 444, 446  # system calls with the same numbers on every architecture
_VERSION: Final = 1
_SCOPE_ABSTRACT_SOCKETS, _SCOPE_SIGNALS = 1, 2  # linux/landlock.h
_SCOPES_SINCE: Final = 6


def interface() -> int:
    """The number of the kernel's interface; 0 if it has none."""
    if sys.platform != "linux":
        return 0
    return max(0, int(_libc().syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), _VERSION)))


def keep_to_itself() -> bool:
    """Keep this process, and those it starts, from the abstract sockets and the processes of others, for good. Returns
    whether the kernel can. The process has to have given up new privileges (``no_new_privs``).

    Raises:
        OSError: if the kernel refuses.
    """
    if interface() < _SCOPES_SINCE:
        return False
    libc = _libc()
    ruleset = struct.pack("=3Q", 0, 0, _SCOPE_ABSTRACT_SOCKETS | _SCOPE_SIGNALS)  # struct landlock_ruleset_attr
    descriptor = libc.syscall(_CREATE_RULESET, ruleset, ctypes.c_size_t(len(ruleset)), 0)
    if descriptor < 0 or libc.syscall(_RESTRICT_SELF, descriptor, 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"Landlock: {os.strerror(number)}")
    os.close(descriptor)
    return True


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)

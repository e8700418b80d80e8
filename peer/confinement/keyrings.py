"""The kernel's keyrings, which no namespace hides: a process inherits that of its session, with what is in it, such as
the tickets of Kerberos. The man pages are session-keyring(7) and keyctl_join_session_keyring(3)."""

from __future__ import annotations

import ctypes
import errno
import os
from typing import Final

_KEYCTL: Final = {"x86_64": 250, "aarch64": 219}
_JOIN_SESSION_KEYRING: Final = 1  # linux/keyctl.h


def leave_session_keyring() -> None:
    """Take a new and empty keyring for the session of this process and of those that it starts.

    Raises:
        OSError: if the kernel has keyrings, and refuses.
    """
    number = _KEYCTL.get(os.uname().machine)
    if number is None:
        return
    if ctypes.CDLL(None, use_errno=True).syscall(number, _JOIN_SESSION_KEYRING, None) < 0:
        code = ctypes.get_errno()
        if code not in (errno.ENOSYS, errno.EPERM):  # by a call that it may not make, an app reads no key either
            raise OSError(code, f"the keyring of the session: {os.strerror(code)}")

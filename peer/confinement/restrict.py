"""Gives up, for good, what no namespace takes from a process, and runs a command:
``python -I -S restrict.py BOUNDS COMMAND...``.

It is the last step before an app's Python, by whatever means the process is confined. An emulated Python could not take
it by itself: an emulator passes on neither bounds nor filters. BOUNDS are as ``DATA=1000,NPROC=10`` (getrlimit(2)).
"""

from __future__ import annotations

import ctypes
import errno
import os
import resource
import sys
from typing import Final

if __name__ == "__main__":
    sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))

from peer.confinement.landlock import keep_to_itself
from peer.confinement.system_calls import FORBIDDEN, PROCESSORS, refuse_calls

_JOIN_SESSION_KEYRING: Final = 1  # linux/keyctl.h


def restrict_this_process(bounds: str) -> None:
    """Take these bounds, an empty keyring, and the kernel's refusal of what reaches further.

    Raises:
        OSError: if the kernel does not do it.
    """
    for name, most in (each.split("=") for each in bounds.split(",")):
        what = getattr(resource, f"RLIMIT_{name}")
        _, hard = resource.getrlimit(what)
        least = int(most) if hard == resource.RLIM_INFINITY else min(int(most), hard)
        resource.setrlimit(what, (least, least))
    leave_session_keyring()
    refuse_calls()  # and new privileges, which Landlock asks for
    keep_to_itself()


def leave_session_keyring() -> None:
    """Take a new and empty keyring for the session of this process and of those that it starts.

    No namespace hides the kernel's keyrings: a process inherits that of its session, with what is in it, such as the
    tickets of Kerberos. The man pages are session-keyring(7) and keyctl_join_session_keyring(3).

    Raises:
        OSError: if the kernel has keyrings, and refuses.
    """
    machine = os.uname().machine
    if machine not in PROCESSORS:
        return
    number = FORBIDDEN["keyctl"][PROCESSORS[machine].column]
    if ctypes.CDLL(None, use_errno=True).syscall(number, _JOIN_SESSION_KEYRING, None) < 0:
        code = ctypes.get_errno()
        if code not in (errno.ENOSYS, errno.EPERM):  # by a call that it may not make, an app reads no key either
            raise OSError(code, f"the keyring of the session: {os.strerror(code)}")


if __name__ == "__main__":
    try:
        restrict_this_process(sys.argv[1])
        os.execvp(sys.argv[2], sys.argv[2:])
    except OSError as error:
        sys.exit(f"{error}")

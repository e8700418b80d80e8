"""Gives up, for good, what no namespace takes from a process, and runs a command:
``python -I -S restrict.py BOUNDS COMMAND...``.

It is the last step before an app's Python, by whatever means the process is confined. An emulated Python could not take
it by itself: an emulator passes on neither bounds nor filters. BOUNDS are as ``DATA=1000,NPROC=10`` (getrlimit(2)).
"""

from __future__ import annotations

import os
import resource
import sys

if __name__ == "__main__":
    sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))

from peer.confinement.keyrings import leave_session_keyring
from peer.confinement.landlock import keep_to_itself
from peer.confinement.system_calls import refuse_calls


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


if __name__ == "__main__":
    try:
        restrict_this_process(sys.argv[1])
        os.execvp(sys.argv[2], sys.argv[2:])
    except OSError as error:
        sys.exit(f"{error}")

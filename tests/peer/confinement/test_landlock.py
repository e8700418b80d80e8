"""`peer.confinement.landlock`: an app that has the network reaches no abstract socket of others by it."""

from __future__ import annotations

import os
import socket
import subprocess
import sys

import pytest

from peer.confinement.landlock import interface

CONNECTS = """
import ctypes, socket, sys
from peer.confinement.landlock import keep_to_itself
assert ctypes.CDLL(None).prctl(38, 1, 0, 0, 0) == 0  # PR_SET_NO_NEW_PRIVS
if sys.argv[2] == "kept":
    assert keep_to_itself()
try:
    socket.socket(socket.AF_UNIX).connect(chr(0) + sys.argv[1])
except PermissionError:
    sys.exit(7)
"""


@pytest.mark.skipif(interface() < 6, reason="this kernel's Landlock knows no scopes")
@pytest.mark.parametrize(("how", "code"), [("kept", 7), ("as it is", 0)])
def test_a_process_that_keeps_to_itself_reaches_no_abstract_socket(how: str, code: int) -> None:
    name = f"pollen-test-of-landlock-{os.getpid()}"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("\0" + name)
        listener.listen()

        assert subprocess.run([sys.executable, "-c", CONNECTS, name, how], check=False).returncode == code

"""`peer.confinement.restrict`: an app has no key of the session in which its peer was started."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

FINDS = """
import ctypes, sys
from peer.confinement.restrict import leave_session_keyring
SESSION, SEARCH, JOIN = -3, 10, 1
syscall = ctypes.CDLL(None, use_errno=True).syscall
if syscall(250, JOIN, None) < 0 or syscall(248, b"user", b"secret", b"x", 1, SESSION) < 0:
    sys.exit(3)
if sys.argv[1] == "confined":
    leave_session_keyring()
sys.exit(7 if syscall(250, SEARCH, SESSION, b"user", b"secret", 0) < 0 else 0)
"""


@pytest.mark.skipif(platform.machine() != "x86_64", reason="the numbers of the calls are those of x86_64")
@pytest.mark.parametrize(("how", "code"), [("confined", 7), ("as it is", 0)])
def test_a_confined_process_has_no_key_of_its_peers_session(how: str, code: int) -> None:
    found = subprocess.run([sys.executable, "-c", FINDS, how], check=False).returncode
    if found == 3:
        pytest.skip("this machine gives no keyring")

    assert found == code

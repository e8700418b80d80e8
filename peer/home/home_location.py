"""If a folder is: a home that was copied, or put back from a backup, is in another place than it was."""

from __future__ import annotations

import hashlib
import os
import subprocess
from pathlib import Path
from typing import Final

_MACHINE: Final = Path("/etc/machine-id")


def location_of(folder: Path) -> str:
    """A name for the place of a folder. It stays the same if the folder is moved within its file system.

    It follows from the machine, the file system, and the folder's inode there: its number, and when it was made, as a
    number is given away again. Not from the device's number: that may be another one after each start of the machine.
    What a snapshot of a whole machine has, its clone has as well.
    """
    inode, system = folder.stat().st_ino, os.statvfs(folder).f_fsid
    machine = _MACHINE.read_text().strip() if _MACHINE.is_file() else ""
    named = f"pollen place 1 {machine} {system} {inode} {_made(folder)}"
    return hashlib.sha256(named.encode()).hexdigest()  # a reader learns nothing of the machine


def _made(folder: Path) -> str:
    """When the folder was made, as GNU's ``stat`` says it (Python has no ``statx``); empty if nothing tells."""
    command = ["stat", "--dereference", "--format=%.9W", str(folder)]
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    except OSError:
        return ""
    return done.stdout.strip()

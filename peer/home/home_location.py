"""The place of a folder, by which a peer sees that its home was copied or restored from a backup."""

from __future__ import annotations

import hashlib
import os
import subprocess
from pathlib import Path
from typing import Final

_MACHINE: Final = Path("/etc/machine-id")


def location_of(folder: Path) -> str:
    """A name for the place of a folder. It stays the same if the folder is moved within its file system.

    It follows from the machine, the file system, the folder's inode number, and the time of its creation, because inode
    numbers are used again. It does not follow from the device number, which may change when the machine starts. The
    clone of a whole machine has the same place.
    """
    inode, system = folder.stat().st_ino, os.statvfs(folder).f_fsid
    machine = _MACHINE.read_text().strip() if _MACHINE.is_file() else ""
    named = f"pollen place 1 {machine} {system} {inode} {_made(folder)}"
    return hashlib.sha256(named.encode()).hexdigest()  # a hash, so that it tells nothing about the machine


def _made(folder: Path) -> str:
    """The folder's time of creation, from GNU's ``stat`` (Python has no ``statx``); empty if that is unknown."""
    command = ["stat", "--dereference", "--format=%.9W", str(folder)]
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    except OSError:
        return ""
    return done.stdout.strip()

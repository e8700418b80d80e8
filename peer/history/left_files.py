"""The files that a ServerApp left in the folder in which it worked, copied to where its owner wants them."""

from __future__ import annotations

import shutil
import stat
from dataclasses import dataclass
from pathlib import Path

from peer.home.home import Home
from protocol.blocks.cid import CID


@dataclass(frozen=True, slots=True)
class Copied:
    """What was copied."""

    files: int
    bytes: int
    left: tuple[str, ...]
    """What was not, because it is no plain file: links lead elsewhere, and a device is none of a run's."""


def working_folder(home: Home, run: CID) -> Path:
    """Where the ServerApp of a run works in this home."""
    return home.path / "scratch" / str(run)


def copy_left_files(home: Home, run: CID, to: Path) -> Copied:
    """Copy the plain files that the app of ``run`` left to the new folder ``to``, which is not made if there are none.
    No link is followed.

    Raises:
        OSError: if a file cannot be read or written.
    """
    source, left = working_folder(home, run), list[str]()
    files = size = 0
    for path in sorted(source.rglob("*")):
        mode = path.lstat().st_mode
        if stat.S_ISDIR(mode):
            continue
        place = path.relative_to(source)
        if not stat.S_ISREG(mode) or any(parent.is_symlink() for parent in path.parents if source in parent.parents):
            left.append(str(place))
            continue
        (to / place).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, to / place, follow_symlinks=False)
        files += 1
        size += path.lstat().st_size
    return Copied(files, size, tuple(left))

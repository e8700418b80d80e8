"""How much of a disk an app's folders take. A look costs next to nothing until so much of the disk is gone that they
might take too much: then their files are counted. So they are now and then in any case, because others may free what
the app takes."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_LEAST_FREE: Final = 1 << 30
_OF_FREE: Final = 10

COUNTED_EVERY: Final = 20
"""At one of so many looks the files are counted in any case."""


@dataclass(frozen=True, slots=True)
class Held:
    """What folders hold."""

    size: int = 0
    files: int = 0
    is_all: bool = True
    """Whether all of it could be counted."""


@dataclass(frozen=True, slots=True)
class _Free:
    size: int
    files: int


class Disk:
    """The disks on which an app may write."""

    def __init__(self, own: Sequence[Path], others: Sequence[Path], size: int, files: int) -> None:
        """What is in its ``own`` folders may have ``size`` bytes and be so many ``files``; on the disks of the
        ``others`` it has to leave some room, too."""
        self._own = tuple(own)
        self._size = size
        self._files = files
        folders = {place.stat().st_dev: place for place in (*own, *others)}
        self._folders = tuple(folders.values())
        self._ours = tuple({place.stat().st_dev: place for place in own}.values())
        self._least = {place: min(_LEAST_FREE, _free(place).size // _OF_FREE) for place in self._folders}
        self._held = held_by(self._own, files)
        self._free = {place: _free(place) for place in self._ours}
        """The most that was free since the files were counted."""
        self._looks = 0

    def nearly_full(self) -> Path | None:
        """A folder on whose disk hardly anything is free, whoever took it; None if there is none."""
        return next((place for place in self._folders if _free(place).size < self._least[place]), None)

    def held(self, unlinked: Callable[[], int]) -> Held:
        """What the app's own folders hold, at most, and the files that are in none any more."""
        now = {place: _free(place) for place in self._ours}
        self._free = {place: _most(self._free[place], free) for place, free in now.items()}
        self._looks += 1
        size = sum(max(0, self._free[place].size - free.size) for place, free in now.items())
        files = sum(max(0, self._free[place].files - free.files) for place, free in now.items())
        fits = self._held.size + size <= self._size and self._held.files + files <= self._files
        if fits and self._looks % COUNTED_EVERY:
            return Held(self._held.size + size, self._held.files + files)
        found = held_by(self._own, self._files)
        if not found.is_all:  # what cannot be seen is all that is gone
            found = Held(max(found.size, self._held.size + size), max(found.files, self._held.files + files))
        self._held = Held(found.size + unlinked(), found.files)
        self._free = now
        return self._held


def held_by(folders: Sequence[Path], most: int) -> Held:
    """What folders hold. Links in them are not followed; more than ``most`` files are not counted."""
    size = files = 0
    is_all = True
    counted: set[tuple[int, int]] = set()
    pending = [str(folder) for folder in folders]
    while pending and files <= most:
        try:
            entries = os.scandir(pending.pop())
        except OSError:  # nobody may open it, or it is nested deeper than a path is long
            is_all = False
            continue
        with entries:
            for entry in entries:
                files += 1
                if files > most:
                    break
                try:
                    about = entry.stat(follow_symlinks=False)
                except FileNotFoundError:
                    continue
                except OSError:
                    is_all = False
                    continue
                if stat.S_ISDIR(about.st_mode):
                    pending.append(entry.path)
                elif about.st_nlink > 1:
                    if (about.st_dev, about.st_ino) in counted:
                        continue
                    counted.add((about.st_dev, about.st_ino))
                size += about.st_blocks * 512  # stat(2)
    return Held(size, files, is_all)


def _most(one: _Free, other: _Free) -> _Free:
    return _Free(max(one.size, other.size), max(one.files, other.files))


def _free(folder: Path) -> _Free:
    found = os.statvfs(folder)
    return _Free(found.f_bavail * found.f_frsize, found.f_ffree)

"""What processes take, as Linux tells it in ``/proc`` (proc(5)): also what it does not count to any of them."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_PER_SOCKET: Final = 2
"""How often a socket may hold the most that it may send (socket(7))."""
_PER_FILE: Final = 1 << 10
"""Bytes that the kernel keeps for a file that is in memory, besides what is in it."""
_USUAL_BUFFER: Final = 212992


@dataclass(frozen=True, slots=True)
class Process:
    """One process with its threads."""

    pid: int
    parent: int
    threads: int
    folder: Path
    """Where ``/proc`` shows its memory: by a thread that lives, for the first one may have ended before the others."""


def descendants(process: int) -> list[Process]:
    """Those below a process."""
    children: dict[int, list[Process]] = {}
    for each in _processes():
        children.setdefault(each.parent, []).append(each)
    found: list[Process] = []
    pending = [process]
    while pending:
        below = children.pop(pending.pop(), [])
        found += below
        pending += [each.pid for each in below]
    return found


def resident(processes: Iterable[Process]) -> int:
    """Bytes in memory, swapped out, and of the tables of pages; what several share counts for each. Pages of files on a
    disk do not count, as the kernel drops them if it needs room, unless they are locked."""
    total = 0
    for each in processes:
        pages, of_files, locked, huge, *others = _fields(
            each.folder / "status", "VmRSS", "RssFile", "VmLck", "HugetlbPages", "VmSwap", "VmPTE"
        )
        total += pages - max(0, of_files - locked) + huge + sum(others)
    return total


def proportional(processes: Iterable[Process]) -> tuple[int, int]:
    """The same, a page that several share divided among them; and how much of it is of files that are in memory."""
    total = files = 0
    for each in processes:
        pages, of_files, locked, swapped, in_memory, *huge = _fields(
            each.folder / "smaps_rollup",
            *("Pss", "Pss_File", "Locked", "SwapPss", "Pss_Shmem", "Shared_Hugetlb", "Private_Hugetlb"),
        )
        (tables,) = _fields(each.folder / "status", "VmPTE")
        total += pages - max(0, of_files - locked) + swapped + sum(huge) + tables
        files += in_memory
    return total, files


def in_memory_files(processes: Iterable[Process]) -> int:
    """Bytes of the files in the ``/dev/shm`` that these processes have to themselves."""
    ours = Path("/dev/shm").stat().st_dev if Path("/dev/shm").exists() else None
    for each in processes:
        with suppress(OSError):
            shared = each.folder / "root" / "dev" / "shm"
            if shared.stat().st_dev != ours:
                held = os.statvfs(shared)
                return (held.f_blocks - held.f_bfree) * held.f_frsize + (held.f_files - held.f_ffree) * _PER_FILE
    return 0


@dataclass(frozen=True, slots=True)
class Opened:
    """What processes have open."""

    descriptors: int = 0
    sockets: int = 0
    """Each counts once, however many have it."""

    @property
    def buffers(self) -> int:
        """The bytes that the sockets may hold, which no process maps."""
        return self.sockets * _PER_SOCKET * _most_sent()


def opened(processes: Iterable[Process], most: int) -> Opened:
    """What they have open; not all of it if it is more than ``most``."""
    count, sockets = 0, set()
    for descriptor in _descriptors(processes):
        count += 1
        if count > most:
            break
        with suppress(OSError):
            if (target := os.readlink(descriptor)).startswith("socket:"):
                sockets.add(target)
    return Opened(count, len(sockets))


def unlinked(processes: Iterable[Process]) -> int:
    """The bytes of files that are open, and in no folder any more."""
    found: dict[tuple[int, int], int] = {}
    for descriptor in _descriptors(processes):
        with suppress(OSError):
            about = descriptor.stat()
            if stat.S_ISREG(about.st_mode) and about.st_nlink == 0:
                found[about.st_dev, about.st_ino] = about.st_blocks * 512  # stat(2)
    return sum(found.values())


def _descriptors(processes: Iterable[Process]) -> Iterator[Path]:
    for each in processes:
        with suppress(OSError):
            yield from (each.folder / "fd").iterdir()


def _processes() -> Iterator[Process]:
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it has ended
            fields = (folder / "stat").read_text(errors="replace").rpartition(")")[2].split()
            lives = folder
            if fields[0] == "Z":
                others = [task for task in (folder / "task").iterdir() if task.name != folder.name]
                lives = next(iter(others), folder)
            yield Process(int(folder.name), int(fields[1]), int(fields[17]), lives)


def _fields(file: Path, *names: str) -> list[int]:
    """Bytes that a file of ``/proc`` tells in kB, 0 for each that it does not."""
    found = dict.fromkeys(names, 0)
    with suppress(OSError):
        for line in file.read_text().splitlines():
            name, _, value = line.partition(":")
            if name in found:
                found[name] = int(value.split()[0]) << 10
    return list(found.values())


def _most_sent() -> int:
    with suppress(OSError, ValueError):
        return int(Path("/proc/sys/net/core/wmem_max").read_text())
    return _USUAL_BUFFER

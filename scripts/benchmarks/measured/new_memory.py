"""Memory that is new to a virtual machine: what it costs, and how a benchmark does without it.

Some hosts take the free memory of a virtual machine back (the kernel tells them of it: free page reporting). Whoever
uses such a page for the first time then waits until the host has found another one, and that is charged to the process.
Where a page costs ten times as much as one that was in use a moment ago, a benchmark that moves a gigabyte measures the
host. So the cost is measured, to stand beside the results, and free memory can be filled with cached pages. The kernel
gives those to whoever needs memory; they are the machine's already.

The pages are those of an empty file: reading a hole fills the cache, and takes neither disk nor time of the disk. The
file has no name, so it and its pages go whatever ends the benchmark.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from peer.base.errors import ExitCode, PeerError

_MIB: Final = 1 << 20
_PIECE: Final = 16
"""MiB that are read between two looks at the clock, or at the free memory."""

_PROBED: Final = 768
"""MiB that are read to find new pages. The first ones are those that somebody freed a moment ago."""

_NEWEST: Final = 256
"""MiB at the end of them that count, and that are then used once more."""

_POINTLESS: Final = 2.0
"""Filling pages that cost less than so many times as much as others was not worth it."""

LEFT_FREE: Final = 512 << 20
"""Bytes that are never filled. The kernel begins to take pages back at a fifth of it, so filling makes it take none,
and nothing is ever written to swap because of it."""


@dataclass(frozen=True, slots=True)
class PageCost:
    """Milliseconds of processor time for a MiB of page cache: reading a hole of a file."""

    new: float
    """In memory that nobody has used for some time."""
    reused: float
    """In memory that was freed a moment ago."""

    @property
    def told(self) -> dict[str, float]:
        """As a part of the machine's description."""
        return {"new": round(self.new, 2), "reused": round(self.reused, 2)}


def page_cost(folder: Path) -> PageCost:
    """Measure it, in a file in ``folder``, within some seconds.

    "New" is as new as it is at that time. If others freed much a moment ago, or if nothing is free, it costs no more.
    """
    with tempfile.TemporaryFile(dir=folder) as file:
        new = _read(file, 0, _PROBED)[-_NEWEST // _PIECE :]
    with tempfile.TemporaryFile(dir=folder) as file:
        reused = _read(file, 0, _NEWEST)
    return PageCost(statistics.median(new), statistics.median(reused))


def add_option(parser: argparse.ArgumentParser) -> None:
    """Let people choose ``--fill-memory``."""
    parser.add_argument(
        "--fill-memory",
        action="store_true",
        help="before each turn, fill free memory with cached pages: for a virtual machine whose host takes it back",
    )


@contextlib.contextmanager
def filling(wanted: bool, folder: Path, cost: PageCost) -> Iterator[Callable[[], None]]:
    """Yields what fills free memory before a turn; it does nothing if that is not ``wanted``. Tells people at the end
    if it was pointless: if no page that was filled cost more than one that was used a moment before."""
    if not wanted:
        yield lambda: None
        return
    with tempfile.TemporaryFile(dir=folder) as file:
        filled = FilledMemory(file)
        yield filled.top_up
        if filled.dearest < _POINTLESS * cost.reused:
            sys.stderr.write("--fill-memory was pointless: new memory cost no more than other memory here\n")


class FilledMemory:
    """Free memory that is filled with the pages of an empty file."""

    def __init__(self, file: BinaryIO, free: Callable[[], int] | None = None) -> None:
        self._file = file
        self._free = free or free_memory
        self._end = 0
        self.dearest = 0.0
        """Milliseconds of processor time for a MiB, in the top-up that took most of it."""

    def top_up(self) -> None:
        """Fill all free memory but `LEFT_FREE`. What was filled before and is in use now is not filled again: each
        time the file goes on where it ended. Tells people what was filled, and if much is free still."""
        begun, first = time.monotonic(), self._end
        pieces: list[float] = []
        most = self._free()  # not more than this: others may free memory as fast as it is filled
        while (room := self._free() - LEFT_FREE) >= _PIECE * _MIB and (left := most - (self._end - first)) >= _MIB:
            count = min(room // _MIB, left // _MIB, 16 * _PIECE)
            pieces += _read(self._file, self._end // _MIB, count)
            self._end += count * _MIB
        if pieces:
            cost = statistics.mean(pieces)
            self.dearest = max(self.dearest, cost)
            free = self._free()
            sys.stderr.write(
                f"  filled {(self._end - first) / 1e9:.1f} GB of free memory in {time.monotonic() - begun:.0f} s, "
                f"{cost:.2f} ms of processor time a MiB"
                + (
                    f". {free / 1e9:.1f} GB are free: others freed them, or the folder is in memory"
                    if free > 2 * LEFT_FREE
                    else ""
                )
                + "\n"
            )


def free_memory() -> int:
    """Bytes that nobody uses, not even for what is cached."""
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemFree:"):
            return int(line.split()[1]) << 10
    raise PeerError("the kernel does not say how much memory is free", fix="use Linux", code=ExitCode.WRONG_USE)


def _read(file: BinaryIO, at: int, count: int) -> list[float]:
    """Read so many MiB of a hole from the MiB ``at`` on. Returns the milliseconds of processor time for a MiB, piece by
    piece."""
    os.ftruncate(file.fileno(), (at + count) * _MIB)
    into = [bytearray(_MIB)]
    taken = []
    for begin in range(at, at + count, _PIECE):
        end = min(begin + _PIECE, at + count)
        before = time.process_time()
        for number in range(begin, end):
            os.preadv(file.fileno(), into, number * _MIB)
        taken.append((time.process_time() - before) / (end - begin) * 1e3)
    return taken

"""What an app prints is kept in files, each line with the time, within a bound.

An app may print anything, without end, and a line of any length. So lines are cut, and a file that is full becomes the
one before (``.1``), which is the oldest that is kept. Colours are left out: Flower always prints them, and where lines
are read they would be noise. All other characters are the app's own: whoever shows them escapes them.
"""

from __future__ import annotations

import logging
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from peer.base import logs

LIMIT: Final = 8 << 20
"""Bytes of a file. There are two at most: this one, and the one before."""

LONGEST_LINE: Final = 16 << 10
"""Bytes of a line. A longer one is broken."""

REMEMBERED: Final = 64 << 10
"""Bytes that are kept of what an app prints before it has its run."""


_COLOUR: Final = re.compile(rb"\x1b\[[0-9;:]*m")
"""What has a terminal change colours: "Select Graphic Rendition" of ECMA-48."""


def before(log: Path) -> Path:
    """The file before ``log``."""
    return log.with_name(f"{log.name}.1")


class AppLog:
    """Takes the output of one app process. `write` may be called in another thread than the others."""

    def __init__(self, log: Path, limit: int = LIMIT, clock: Callable[[], float] = time.time) -> None:
        """``log`` gets all of it. Raises nothing if the disk is full: then lines are lost."""
        self._files = [log]
        self._limit = limit
        self._clock = clock
        self._lock = threading.Lock()
        self._rest = b""
        self._early: list[bytes] = []
        self._early_size = 0
        self.last = ""
        """The last line that is not blank."""

    def begin(self, log: Path) -> None:
        """From now on ``log`` gets it too, and what came already."""
        with self._lock:
            self._append(log, self._early)
            self._early, self._early_size = [], REMEMBERED
            self._files.append(log)

    def write(self, data: bytes) -> None:
        """Take what the app printed. Carriage returns end lines too, as those of a progress bar."""
        with self._lock:
            *lines, self._rest = (self._rest + data).replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
            while len(self._rest) > LONGEST_LINE:
                lines.append(self._rest[:LONGEST_LINE])
                self._rest = self._rest[LONGEST_LINE:]
            self._take(lines)

    def close(self) -> None:
        """Take what is left, which no line break ended."""
        with self._lock:
            self._take([self._rest] if self._rest else [])
            self._rest = b""

    def _take(self, coloured: list[bytes]) -> None:
        lines = [_COLOUR.sub(b"", line) for line in coloured]
        at = f"{datetime.fromtimestamp(self._clock(), UTC).isoformat(timespec='milliseconds')} ".encode()
        dated = [at + part + b"\n" for line in lines for part in _parts(line)]
        self.last = next((line.decode(errors="replace").strip() for line in reversed(lines) if line.strip()), self.last)
        for file in self._files:
            self._append(file, dated)
        for line in dated:
            if self._early_size < REMEMBERED:
                self._early.append(line)
                self._early_size += len(line)

    def _append(self, file: Path, lines: list[bytes]) -> None:
        try:
            with file.open("ab") as log:
                log.writelines(lines)
                size = log.tell()
            if size > self._limit:
                file.replace(before(file))
        except OSError as error:  # the run goes on without what its app prints
            logs.event("app-log-not-written", logging.WARNING, file=str(file), why=str(error.strerror))


def _parts(line: bytes) -> Iterator[bytes]:
    yield line[:LONGEST_LINE]
    for begin in range(LONGEST_LINE, len(line), LONGEST_LINE):
        yield line[begin : begin + LONGEST_LINE]


class FollowedLog:
    """Reads a log from its beginning, and then what is added to it, through a change of files."""

    def __init__(self, log: Path) -> None:
        self._log = log
        self._inode = 0
        self._read = 0
        self._rest = b""

    def lines(self) -> Iterator[str]:
        """The whole lines since the last call, without their ends; at first those of the file before, too."""
        if not self._inode:
            yield from self._new_of(before(self._log), 0)
        with suppress(FileNotFoundError):
            inode = self._log.stat().st_ino
            if self._inode and inode != self._inode:  # it was full: read its end, then the new one
                old = before(self._log)
                if old.exists() and old.stat().st_ino == self._inode:
                    yield from self._new_of(old, self._read)
                self._read = 0
            self._inode = inode
            yield from self._new_of(self._log, self._read)

    def _new_of(self, file: Path, begin: int) -> Iterator[str]:
        try:
            with file.open("rb") as log:
                log.seek(begin)
                data = log.read()
        except FileNotFoundError:
            return
        self._read = begin + len(data)
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            yield line.decode(errors="replace")


def printed(log: Path, at: int, most: int) -> tuple[bytes, int]:
    """What was printed from byte ``at`` on, ``most`` bytes of it at most, and from where the next call goes on. Once
    the file was full and began anew, the rest of the one before comes first."""
    try:
        size = log.stat().st_size
    except FileNotFoundError:
        return b"", at
    if at > size:
        older = before(log)
        rest = _from(older, at, most) if older.exists() else b""
        return (rest, at + len(rest)) if rest else (_from(log, 0, most), min(size, most))
    found = _from(log, at, most)
    return found, at + len(found)


def _from(file: Path, at: int, most: int) -> bytes:
    with suppress(FileNotFoundError), file.open("rb") as stream:
        stream.seek(at)
        return stream.read(most)
    return b""

"""Announcements between the peers of one machine: rows of a SQLite table, and a FIFO per subscription to wake it.

A publisher adds a row, then writes one byte into every FIFO in ``wake/`` whose name tells the same topic. So a
subscriber learns of it at once, nobody polls, and nobody is woken for what others hear. A name without a topic is an
older Pollen's, which hears all. Old rows are trimmed: an announcement is a hint, and a subscriber that missed it hears
the next beat.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import logging
import os
import select
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path
from typing import Final

from peer.base import posix
from peer.engine.announcement_delivery import Delivery, check_size
from peer.engine.block_writer import owner_token
from peer.engine.disk_errors import translated
from peer.engine.interface import EngineUnavailable, StorageFull

_KEPT_ROWS: Final = 1024
_KEPT_SECONDS: Final = 120.0
_TRIM_EVERY: Final = 32
"""Rows between two trims."""

_LOST_WAKE_UP: Final = 1.0
"""Seconds after which a subscriber looks even if nobody woke it: its FIFO may have been removed by hand."""

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS announcement
    (id INTEGER PRIMARY KEY AUTOINCREMENT, time REAL NOT NULL, topic TEXT NOT NULL, data BLOB NOT NULL);
CREATE INDEX IF NOT EXISTS announcement_by_topic ON announcement (topic, id);
"""

_log = logging.getLogger(__name__)


class AnnouncementLog:
    """Publishes and subscribes in one directory."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._wake = directory / "wake"
        self._token = owner_token()
        self._count = itertools.count()
        self._lock = threading.Lock()
        with translated(directory):
            self._wake.mkdir(exist_ok=True)
        self._database = self._open()

    def publish(self, topic: str, data: bytes) -> None:
        """Add one announcement and wake the subscribers."""
        check_size(data)
        with self._lock, self._translated():
            self._database.execute("BEGIN IMMEDIATE")
            try:
                self._insert(topic, data)
                self._database.execute("COMMIT")
            except BaseException:
                self._database.rollback()
                raise
        with translated(self._directory):
            for name in os.listdir(self._wake):
                if _topic_of(name) in ("", _mark(topic)):
                    _write_byte(self._wake / name)

    def subscribe(self, topic: str, receive: Callable[[bytes], None]) -> LogSubscription:
        """Call ``receive`` with each announcement on ``topic`` from now on."""
        with self._translated(), translated(self._directory):
            name = f"{self._token}.{next(self._count)}-{_mark(topic)}"
            return LogSubscription(self._wake, name, self._open(), topic, receive)

    def others(self) -> int:
        """How many other engines subscribe in this directory now."""
        with translated(self._directory):
            tokens = {fifo.name.rpartition(".")[0] for fifo in self._wake.iterdir() if _is_read(fifo)}
        return len(tokens - {self._token})

    def close(self) -> None:
        """Close the table."""
        with self._lock:
            self._database.close()

    def _insert(self, topic: str, data: bytes) -> None:
        now = time.time()
        statement = "INSERT INTO announcement (time, topic, data) VALUES (?, ?, ?)"
        row = self._database.execute(statement, (now, topic, data)).lastrowid or 0
        if row % _TRIM_EVERY == 0:
            self._database.execute(
                "DELETE FROM announcement WHERE id <= ? OR time < ?", (row - _KEPT_ROWS, now - _KEPT_SECONDS)
            )

    def _open(self) -> sqlite3.Connection:
        path = self._directory / "announcements.sqlite"
        with self._translated(), translated(self._directory), _locked(self._directory / "announcements.lock"):
            database = sqlite3.connect(path, timeout=10.0, isolation_level=None, check_same_thread=False)
            database.execute("PRAGMA journal_mode = WAL")
            database.execute("PRAGMA synchronous = NORMAL")
            database.executescript(_SCHEMA)
            return database

    @contextlib.contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            place = self._directory
            if getattr(error, "sqlite_errorcode", 0) == sqlite3.SQLITE_FULL:
                fix = f"free some space, then start again: df -h {place}"
                raise StorageFull(f"the disk that holds {place} is full", fix) from error
            raise EngineUnavailable(f"cannot use the announcements in {place}: {error}", f"ls -l {place}") from error


class LogSubscription:
    """One subscription: a FIFO, and a thread that reads new rows whenever a byte comes through it."""

    def __init__(
        self, wake: Path, name: str, database: sqlite3.Connection, topic: str, receive: Callable[[bytes], None]
    ) -> None:
        self._delivery = Delivery(receive)
        self._database = database
        self._topic = topic
        self._stopping = threading.Event()
        self._ending = threading.Lock()
        """Held to wake the thread, and to close the FIFO: right afterwards its number may be another file's."""
        self._fifo = wake / name
        # Opened before it has its name: a publisher removes a FIFO that nobody reads.
        nascent = wake.parent / "tmp" / name
        posix.make_fifo(nascent)
        self._reader = os.open(nascent, os.O_RDWR | os.O_NONBLOCK)
        nascent.rename(self._fifo)
        row = database.execute("SELECT seq FROM sqlite_sequence WHERE name = 'announcement'").fetchone()
        self._last = row[0] if row else 0
        self._thread = threading.Thread(target=self._run, name=f"subscription {topic}", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop. No call to the receiver begins after this returns, and the thread has ended, if it is not the one that
        calls."""
        self._delivery.close()
        with self._ending:
            if not self._stopping.is_set():
                self._stopping.set()
                os.write(self._reader, b"\0")
        if threading.current_thread() is not self._thread:  # it closes the table: not while the process ends
            self._thread.join()

    def _run(self) -> None:
        try:
            while not self._stopping.is_set():
                if select.select([self._reader], [], [], _LOST_WAKE_UP)[0]:
                    os.read(self._reader, 65536)
                self._hand_out()
        finally:
            with self._ending:
                self._stopping.set()
                self._fifo.unlink(missing_ok=True)
                os.close(self._reader)
            self._database.close()

    def _hand_out(self) -> None:
        statement = "SELECT id, data FROM announcement WHERE topic = ? AND id > ? ORDER BY id LIMIT 1"
        try:
            while row := self._database.execute(statement, (self._topic, self._last)).fetchone():
                self._last, data = row
                self._delivery.hand(data)
        except sqlite3.Error as error:
            _log.warning("announcements on %s cannot be read now: %s", self._topic, error)


def _mark(topic: str) -> str:
    """What stands for a topic in the name of a FIFO."""
    return sha256(topic.encode()).hexdigest()[:16]


def _topic_of(name: str) -> str:
    """What stands for the topic in the name of a FIFO; empty if nothing does."""
    return name.rpartition(".")[2].partition("-")[2]


def _write_byte(fifo: Path) -> None:
    try:
        writer = os.open(fifo, os.O_WRONLY | os.O_NONBLOCK)
    except FileNotFoundError:
        return
    except OSError as error:
        if error.errno != errno.ENXIO:
            raise
        fifo.unlink(missing_ok=True)  # its reader is dead
        return
    try:
        with contextlib.suppress(BlockingIOError, BrokenPipeError):  # full: it will wake; broken: its reader just left
            os.write(writer, b"\0")
    finally:
        os.close(writer)


def _is_read(fifo: Path) -> bool:
    try:
        os.close(os.open(fifo, os.O_WRONLY | os.O_NONBLOCK))
    except OSError:
        return False
    return True


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Keep other processes out. Two that switch a new table to WAL at once would fail: SQLite does not wait there."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        posix.lock(descriptor)
        yield
    finally:
        os.close(descriptor)

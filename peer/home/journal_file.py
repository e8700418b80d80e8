"""The journal's file: an SQLite database, its layout, transactions, and errors that people understand."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from peer.base.errors import ExitCode, PeerError
from peer.home.home import PRIVATE_FILE
from peer.home.journal_layouts import LAYOUTS

LAYOUT: Final = len(LAYOUTS)


class JournalFile:
    """An open file. Safe to use from several threads."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        with translated(path):
            path.touch(mode=PRIVATE_FILE)
            self._database = connected(path)
            self._set_up()

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._database.close()

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """One transaction and one sync, or nothing of it."""
        with self._lock, translated(self._path):
            self._database.execute("BEGIN IMMEDIATE")
            try:
                yield self._database
                self._database.execute("COMMIT")
            except BaseException:
                if self._database.in_transaction:  # a full disk may have ended the transaction already
                    self._database.execute("ROLLBACK")
                raise

    def rows(self, query: str, *values: object) -> list[Any]:  # rows are tuples of what the schema says
        """What a query finds."""
        with self._lock, translated(self._path):
            return self._database.execute(query, values).fetchall()

    def row(self, query: str, *values: object) -> Any:
        """The first row that a query finds; None if there is none."""
        rows = self.rows(query, *values)
        return rows[0] if rows else None

    def forget_for_good(self) -> None:
        """Leave no byte in the file, or in the log beside it, of what was deleted.

        Raises:
            PeerError: if another process reads an older state for so long that the log cannot be emptied.
        """
        with self._lock, translated(self._path):
            (busy, *_) = self._database.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        if busy:
            raise PeerError(
                f"another process reads the journal {self._path}, so what was deleted is still in its log",
                fix="try again once that has ended",
                code=ExitCode.UNFINISHED,
            )

    def _set_up(self) -> None:
        database = self._database
        database.execute("PRAGMA secure_delete = ON")  # what is deleted is overwritten
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("PRAGMA synchronous = FULL")
        database.execute("BEGIN IMMEDIATE")  # if two processes find a new file, one waits here
        (layout,) = database.execute("PRAGMA user_version").fetchone()
        if layout < LAYOUT:
            for statement in "".join(LAYOUTS[layout:]).split(";"):
                database.execute(statement)
            database.execute(f"PRAGMA user_version = {LAYOUT}")
        database.execute("COMMIT")
        if layout > LAYOUT:
            raise PeerError(
                f"{self._path} was written by a newer Pollen (layout {layout}, this one knows {LAYOUT})",
                fix="pip install --upgrade pollen-fl, or another home with --home DIR",
            )


def connected(path: Path) -> sqlite3.Connection:
    """A connection to the file, for several threads that take turns."""
    return sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=30.0)


@contextmanager
def translated(path: Path) -> Iterator[None]:
    """Errors of the disk and of SQLite as `PeerError`."""
    try:
        yield
    except sqlite3.Error as error:
        raise _explained(path, getattr(error, "sqlite_errorcode", None), error) from error
    except OSError as error:
        raise _explained(path, None, error) from error


def _explained(path: Path, code: int | None, error: Exception) -> PeerError:
    match code:
        case sqlite3.SQLITE_FULL:
            what, fix = f"the disk of {path} is full; nothing was lost", "free some space and start the peer again"
        case sqlite3.SQLITE_NOTADB | sqlite3.SQLITE_CORRUPT:
            what, fix = f"{path} is not a journal, or is damaged", f"restore {path}, or use another --home DIR"
        case _:
            what, fix = f"the journal {path} cannot be used: {error}", "check the home: peer doctor"
    return PeerError(what, fix=fix, code=ExitCode.UNFINISHED)

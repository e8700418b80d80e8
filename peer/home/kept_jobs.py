"""The jobs that a home keeps in its journal: runs that were asked for (`peer.jobs`)."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from typing import Any, Final

from peer.base.errors import PeerError
from peer.home.journal_file import JournalFile
from protocol.blocks.cid import CID
from protocol.run_names import name_after

CANCELLED: Final = "its owner cancelled it"
"""Why a job has ended that its owner gave up."""


@dataclass(frozen=True, slots=True)
class KeptJob:
    """A run that was asked for (`protocol.jobs.queue`)."""

    number: int
    """In the order of acceptance."""
    key: bytes
    """Random, from whoever asked: asked twice with one key, it is one job."""
    asked: float
    """When it was accepted: seconds since 1970."""
    asker: bytes
    """The member's id."""
    federation: CID
    app: CID
    """The app's id. The app is unpacked in the home."""
    app_name: str
    name: str
    """How the run is called here."""
    settings: bytes
    """A `peer.jobs.settings.JobSettings`."""
    run: CID | None
    """The run, once its first record is on disk."""
    ended: float | None
    """When nothing was left to do for it; None before."""
    why: str
    """Why it ended without its run's being closed."""


class KeptJobs:
    """The jobs in a journal. Each change is on disk at return (`peer.home.journal.Journal`)."""

    def __init__(self, file: JournalFile) -> None:
        self._file = file

    def accept(
        self,
        key: bytes,
        asker: bytes,
        federation: CID,
        app: CID,
        app_name: str,
        wanted: str,
        settings: bytes,
        now: float,
    ) -> KeptJob:
        """Keep a job. One with this key is kept already: that is returned. ``wanted`` is its name; empty: it is called
        after its app.

        Raises:
            PeerError: if another run has that name, or the job's run was forgotten.
        """
        with self._file.transaction() as database:
            row = database.execute("SELECT * FROM jobs WHERE key = ?", (key,)).fetchone()
            if row is None:
                if database.execute("SELECT 1 FROM facts WHERE name = ?", (_forgotten(key),)).fetchone():
                    raise PeerError("that job's run was forgotten here", fix="for another run, ask without --key")
                taken = names_taken(database)
                if wanted in taken:
                    raise PeerError(f"another run is called {wanted}", fix="give this one another name: --name NAME")
                name = wanted or name_after(app_name, taken)
                values = (key, now, asker, bytes(federation), bytes(app), app_name, name, settings)
                database.execute(
                    "INSERT INTO jobs (key, asked, asker, federation, app, app_name, name, settings) "
                    "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                    values,
                )
                row = database.execute("SELECT * FROM jobs WHERE key = ?", (key,)).fetchone()
        return _job(row)

    def adopt(self, run: CID, federation: CID, asker: bytes, app_name: str, settings: bytes, now: float) -> KeptJob:
        """Keep a job for a run that began without one. It has the run's name, or is called after its app."""
        with self._file.transaction() as database:
            raw = bytes(run)
            known = database.execute("SELECT name FROM known_runs WHERE run = ?", (raw,)).fetchone()
            taken = names_taken(database)
            name = known[0] if known else name_after(app_name, taken)
            values = (raw[-16:], now, asker, bytes(federation), raw, app_name, name, settings, raw)
            database.execute(
                "INSERT INTO jobs (key, asked, asker, federation, app, app_name, name, settings, run) "
                "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                values,
            )
            row = database.execute("SELECT * FROM jobs WHERE run = ?", (raw,)).fetchone()
        return _job(row)

    def end(self, number: int, now: float, why: str = "") -> None:
        """Remember that nothing is left to do for a job, and ``why``, if its run is not closed."""
        with self._file.transaction() as database:
            database.execute("UPDATE jobs SET ended = ?, why = ? WHERE number = ?", (now, why, number))

    def take_up(self, number: int) -> None:
        """Have a job that ended without its run's being closed go on."""
        with self._file.transaction() as database:
            database.execute("UPDATE jobs SET ended = NULL, why = '' WHERE number = ?", (number,))

    def all(self) -> list[KeptJob]:
        """All jobs, in the order of acceptance."""
        return list(map(_job, self._file.rows("SELECT * FROM jobs ORDER BY number")))


def keep_run(database: sqlite3.Connection, job: int, run: CID, now: float) -> None:
    """Keep a run with its job, in the transaction that keeps the run's first head. The run has the job's name. A job
    has a run or none, and never a second one."""
    database.execute("UPDATE jobs SET run = ? WHERE number = ? AND run IS NULL", (bytes(run), job))
    database.execute(
        "INSERT OR IGNORE INTO known_runs (run, name, app, began) "
        "SELECT run, name, app_name, ? FROM jobs WHERE number = ? AND run = ?",
        (now, job, bytes(run)),
    )


def forget_job(database: sqlite3.Connection, run: CID) -> None:
    """Forget the job of a run, but for its key: whoever has kept the request for it cannot have it done once more."""
    raw = bytes(run)
    for (key,) in database.execute("SELECT key FROM jobs WHERE run = ?", (raw,)).fetchall():
        database.execute("INSERT OR REPLACE INTO facts VALUES (?, '')", (_forgotten(bytes(key)),))
    database.execute("DELETE FROM jobs WHERE run = ?", (raw,))


def _forgotten(key: bytes) -> str:
    """The name of the fact that a job was forgotten."""
    return f"forgotten job {key.hex()}"


def names_taken(database: sqlite3.Connection) -> set[str]:
    """The names of this home's runs, and of the jobs that have none yet."""
    return {str(name) for (name,) in database.execute("SELECT name FROM known_runs UNION SELECT name FROM jobs")}


def _job(row: Any) -> KeptJob:
    number, key, asked, asker, federation, app, app_name, name, settings, run, ended, why = row
    of_run = None if run is None else CID(run)
    federation, app = CID(federation), CID(app)
    return KeptJob(number, key, asked, asker, federation, app, app_name, name, settings, of_run, ended, why)

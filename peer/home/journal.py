"""The journal: what a peer must not forget, in one SQLite file of its home.

It replaces one file per head: each method that changes something is one transaction and one sync, so that a reply and
the state after it, or a head and the height it has, can never be seen one without the other.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from peer.base.errors import ExitCode, PeerError
from peer.home.home import PRIVATE_FILE, Home
from peer.home.journal_layouts import LAYOUTS
from protocol.blocks.cid import CID, Block, cbor_data_block
from protocol.records.bodies import Role
from protocol.records.signed_records import WellSigned
from protocol.wire.announcements import next_start

LAYOUT: Final = len(LAYOUTS)


@dataclass(frozen=True, slots=True)
class RunHead:
    """The newest record of a run that this peer has verified."""

    run: CID
    federation: CID
    head: CID
    height: int
    term: int
    closed: bool
    role: Role
    """What this peer is in the run; an imported run is an auditor's."""
    engine: str
    """Where its blocks are, as ``--ipfs`` takes it."""
    updated: float
    """Seconds since 1970."""


@dataclass(frozen=True, slots=True)
class KeptReply:
    """A reply and the `Context.state` after it, None if the app failed before there was one."""

    message: bytes
    reply: CID
    state: CID | None


@dataclass(frozen=True, slots=True)
class KnownApp:
    """An app that the owner approved, or that a run waits for."""

    app: CID
    """Its id (`protocol.blocks.bundle`)."""
    name: str
    """As a run record calls it; empty if none was seen."""
    run: CID | None
    """The run that waited for it last."""
    noted: float
    """Seconds since 1970: when it was approved, else when the run began to wait."""
    approved: bool


@dataclass(frozen=True, slots=True)
class VerifiedHead:
    """What verifying a run up to a head came to (`peer.audit.kept_reports`)."""

    run: CID
    federation: CID
    head: CID
    reader: bytes
    """The reader's member id; empty if the reader has no keys."""
    encrypted: bool
    """Whether the run is."""
    basis: bytes
    """The digest of what the verdict rests on."""
    at: float
    """Seconds since 1970."""
    report: bytes = field(repr=False)
    """Sealed to the reader, if that has keys."""


class Journal:
    """An open journal. Safe to call from several threads; what a method wrote is on disk when it returns.

    Every method raises `PeerError` if the disk is full or the file is no journal. Then nothing of that call is kept,
    and everything kept before still is.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._well_signed = _WellSigned(path)
        with _translated(path):
            path.touch(mode=PRIVATE_FILE)
            self._database = _connected(path)
            self._set_up()

    def close(self) -> None:
        """Close the file."""
        self._well_signed.close()
        with self._lock:
            self._database.close()

    # -- this peer -------------------------------------------------------------------------------------------------

    def next_start(self, now: float) -> int:
        """The number of this process (`protocol.wire.announcements.next_start`), higher than at any start before."""
        with self._transaction() as database:
            row = database.execute("SELECT value FROM facts WHERE name = 'start'").fetchone()
            start = next_start(int(row[0]) if row else 0, now)
            database.execute("INSERT OR REPLACE INTO facts VALUES ('start', ?)", (str(start),))
        return start

    def remember_engine(self, engine: str) -> None:
        """Note the engine that was used, as ``--ipfs`` takes it, for commands that are not told one."""
        with self._transaction() as database:
            database.execute("INSERT OR REPLACE INTO facts VALUES ('engine', ?)", (engine,))

    def engine(self) -> str | None:
        """The engine that was used last."""
        row = self._row("SELECT value FROM facts WHERE name = 'engine'")
        return str(row[0]) if row else None

    def keep_place(self, place: str) -> None:
        """Note where this home is (`peer.home.home_location`): it has forgotten nothing that the members we asked
        know of."""
        with self._transaction() as database:
            database.execute("INSERT OR REPLACE INTO facts VALUES ('place', ?)", (place,))

    def place(self) -> str | None:
        """Where this home was when its place was last noted."""
        row = self._row("SELECT value FROM facts WHERE name = 'place'")
        return str(row[0]) if row else None

    def finish(self, run: CID) -> None:
        """Note that nothing is left to do for a closed run: the peer that had a part in it has come to its end."""
        with self._transaction() as database:
            database.execute("INSERT OR REPLACE INTO facts VALUES (?, '')", (_finished(run),))

    def is_finished(self, run: CID) -> bool:
        """Whether nothing is left to do for the run."""
        return self._row("SELECT 1 FROM facts WHERE name = ?", _finished(run)) is not None

    # -- runs ------------------------------------------------------------------------------------------------------

    def keep_head(self, head: RunHead, well_signed: Iterable[CID] = ()) -> None:
        """Replace the run's head, and keep with it which records were found `well_signed`."""
        values = (
            bytes(head.run),
            bytes(head.federation),
            bytes(head.head),
            head.height,
            head.term,
            head.closed,
            head.role.value,
            head.engine,
            head.updated,
        )
        with self._transaction() as database:
            database.execute("INSERT OR REPLACE INTO heads VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", values)
            _add_well_signed(database, well_signed)

    def head_of(self, run: CID) -> RunHead | None:
        """The head of one run."""
        row = self._row("SELECT * FROM heads WHERE run = ?", bytes(run))
        return _head(row) if row else None

    def run_of(self, head: CID) -> RunHead | None:
        """The run that has this head."""
        row = self._row("SELECT * FROM heads WHERE head = ?", bytes(head))
        return _head(row) if row else None

    def heads(self) -> list[RunHead]:
        """The heads of all runs, the last changed one first."""
        return [_head(row) for row in self._rows("SELECT * FROM heads ORDER BY updated DESC, run")]

    # -- replies ---------------------------------------------------------------------------------------------------

    def keep_reply(self, run: CID, message: bytes, reply: CID, state: CID | None) -> None:
        """Keep the reply to a message and the state after it, together. The first reply to a message stays: what was
        announced is never taken back."""
        values = (bytes(run), message, bytes(reply), None if state is None else bytes(state))
        with self._transaction() as database:
            database.execute("INSERT OR IGNORE INTO replies (run, message, reply, state) VALUES (?, ?, ?, ?)", values)

    def reply_to(self, run: CID, message: bytes) -> KeptReply | None:
        """What was answered to a message."""
        row = self._row("SELECT message, reply, state FROM replies WHERE run = ? AND message = ?", bytes(run), message)
        return _reply(row) if row else None

    def replies(self, run: CID) -> list[KeptReply]:
        """Every reply in a run, in the order in which they were kept."""
        rows = self._rows("SELECT message, reply, state FROM replies WHERE run = ? ORDER BY ordinal", bytes(run))
        return [_reply(row) for row in rows]

    def state_of(self, run: CID) -> CID | None:
        """The newest `Context.state` of a run, None if there is none yet."""
        row = self._row(
            "SELECT state FROM replies WHERE run = ? AND state IS NOT NULL ORDER BY ordinal DESC LIMIT 1",
            bytes(run),
        )
        return CID(row[0]) if row else None

    # -- apps ------------------------------------------------------------------------------------------------------

    def ask_for_app(self, app: CID, name: str, run: CID) -> None:
        """Note that a run waits for the owner's approval of its app."""
        values = (bytes(app), name, bytes(run), time.time())
        with self._transaction() as database:
            database.execute(
                "INSERT INTO apps VALUES (?, ?, ?, ?, FALSE)"
                " ON CONFLICT (app) DO UPDATE SET name = excluded.name, run = excluded.run",
                values,
            )

    def approve_app(self, app: CID) -> None:
        """Let an app run here from now on."""
        with self._transaction() as database:
            database.execute(
                "INSERT INTO apps VALUES (?, '', NULL, ?, TRUE)"
                " ON CONFLICT (app) DO UPDATE SET noted = excluded.noted, approved = TRUE WHERE NOT approved",
                (bytes(app), time.time()),
            )

    def forget_app(self, app: CID) -> bool:
        """Undo `approve_app`, or the note of a run that waits; whether there was something to forget."""
        with self._transaction() as database:
            return database.execute("DELETE FROM apps WHERE app = ?", (bytes(app),)).rowcount > 0

    def apps(self) -> list[KnownApp]:
        """Approved apps and those that runs wait for, the newest first."""
        rows = self._rows("SELECT app, name, run, noted, approved FROM apps ORDER BY noted DESC, app")
        return [
            KnownApp(CID(app), name, CID(run) if run is not None else None, noted, bool(approved))
            for app, name, run, noted, approved in rows
        ]

    def approved_apps(self) -> frozenset[CID]:
        """The apps that may run here."""
        return frozenset(known.app for known in self.apps() if known.approved)

    # -- records this peer signed ----------------------------------------------------------------------------------

    def keep_own(self, blocks: Iterable[Block]) -> None:
        """Keep records that this peer signed, besides the engine, whose disk may sync late."""
        with self._transaction() as database:
            rows = [(bytes(block.cid), block.data) for block in blocks]
            database.executemany("INSERT OR IGNORE INTO own VALUES (?, ?)", rows)

    def own(self, cid: CID) -> bytes | None:
        """The bytes of a record that this peer signed."""
        row = self._row("SELECT data FROM own WHERE cid = ?", bytes(cid))
        return bytes(row[0]) if row else None

    def own_records(self) -> Iterator[Block]:
        """Every record that this peer signed, one in memory at a time, to be put into an engine again."""
        for (cid,) in self._rows("SELECT cid FROM own ORDER BY cid"):
            data = self.own(CID(cid))
            if data is not None:
                yield Block(CID(cid), data)

    # -- records beside the chain of a run -------------------------------------------------------------------------

    def keep_beside(self, run: CID, blocks: Iterable[Block], well_signed: Iterable[CID] = ()) -> None:
        """Keep records that belong to a run and are not in its chain, grants and acks, and which of them were found
        `well_signed`."""
        rows = [(bytes(block.cid), bytes(run), block.data) for block in blocks]
        with self._transaction() as database:
            database.executemany("INSERT OR IGNORE INTO beside (cid, run, data) VALUES (?, ?, ?)", rows)
            _add_well_signed(database, well_signed)

    def beside(self, run: CID) -> list[Block]:
        """The records beside the chain of a run, in the order in which they were kept."""
        rows = self._rows("SELECT cid, data FROM beside WHERE run = ? ORDER BY ordinal", bytes(run))
        return [Block(CID(cid), bytes(data)) for cid, data in rows]

    def names_beside(self, run: CID) -> frozenset[CID]:
        """The CIDs of the records beside the chain of a run, and of its proofs."""
        rows = self._rows(
            "SELECT cid FROM beside WHERE run = ?1 UNION SELECT proof FROM proofs WHERE run = ?1", bytes(run)
        )
        return frozenset(CID(cid) for (cid,) in rows)

    # -- proofs of equivocation ------------------------------------------------------------------------------------

    def keep_proof(self, run: CID, proof: tuple[Block, Block, Block]) -> None:
        """Keep a proof block and the two records that it links (`protocol.records.equivocation`)."""
        values = (bytes(proof[0].cid), bytes(run), *(block.data for block in proof))
        with self._transaction() as database:
            database.execute("INSERT OR IGNORE INTO proofs VALUES (?, ?, ?, ?, ?)", values)

    def proofs(self, run: CID | None = None) -> list[tuple[Block, Block, Block]]:
        """The proofs of a run, or of all: each with the two records that it links."""
        rows = self._rows(
            "SELECT data, first, second FROM proofs WHERE ?1 IS NULL OR run = ?1 ORDER BY proof",
            None if run is None else bytes(run),
        )
        blocks = ([cbor_data_block(bytes(data)) for data in row] for row in rows)
        return [(proof, first, second) for proof, first, second in blocks]

    # -- what was verified -----------------------------------------------------------------------------------------

    def keep_verified(self, verified: VerifiedHead, well_signed: Iterable[CID] = ()) -> None:
        """Keep it in place of what the same reader's verifying of the run came to before, and which records were found
        `well_signed` in doing so."""
        values = (
            bytes(verified.run),
            bytes(verified.federation),
            bytes(verified.head),
            verified.reader,
            verified.encrypted,
            verified.basis,
            verified.at,
            verified.report,
        )
        with self._transaction() as database:
            database.execute("INSERT OR REPLACE INTO verified VALUES (?, ?, ?, ?, ?, ?, ?, ?)", values)
            _add_well_signed(database, well_signed)

    def verified(self, head: CID) -> list[VerifiedHead]:
        """What verifying up to a head came to, for each reader."""
        return [
            VerifiedHead(CID(run), CID(federation), CID(at_head), reader, bool(encrypted), basis, at, report)
            for run, federation, at_head, reader, encrypted, basis, at, report in self._rows(
                "SELECT * FROM verified WHERE head = ?", bytes(head)
            )
        ]

    def keep_well_signed(self, records: Iterable[CID]) -> None:
        """Keep which records were found `well_signed`, if nothing else is to be kept with them."""
        with self._transaction() as database:
            _add_well_signed(database, records)

    @property
    def well_signed(self) -> WellSigned:
        """The records whose signatures this home has found right, so that it verifies each once. May be asked while
        another thread writes: it does not wait for that one's sync."""
        return self._well_signed

    # -- below -----------------------------------------------------------------------------------------------------

    def _set_up(self) -> None:
        database = self._database
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("PRAGMA synchronous = FULL")
        database.execute("BEGIN IMMEDIATE")  # of two processes that find a new file, one waits here
        (layout,) = database.execute("PRAGMA user_version").fetchone()
        if layout < LAYOUT:
            for statement in "".join(LAYOUTS[layout:]).split(";"):
                database.execute(statement)
            database.execute(f"PRAGMA user_version = {LAYOUT}")
        database.execute("COMMIT")
        if layout > LAYOUT:
            raise PeerError(
                f"{self._path} was written by a newer version (layout {layout}, this one knows {LAYOUT})",
                fix="use that version, or another home with --home DIR",
            )

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._lock, _translated(self._path):
            self._database.execute("BEGIN IMMEDIATE")
            try:
                yield self._database
                self._database.execute("COMMIT")
            except BaseException:
                if self._database.in_transaction:  # a full disk may have ended it already
                    self._database.execute("ROLLBACK")
                raise

    def _rows(self, query: str, *values: object) -> list[Any]:  # rows are tuples of what the schema says
        with self._lock, _translated(self._path):
            return self._database.execute(query, values).fetchall()

    def _row(self, query: str, *values: object) -> Any:
        rows = self._rows(query, *values)
        return rows[0] if rows else None


class _WellSigned:
    """`Journal.well_signed`, with a connection of its own to the journal's file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._database: sqlite3.Connection | None = None

    def __contains__(self, record: object) -> bool:
        if not isinstance(record, CID):
            return False
        with self._lock, _translated(self._path):
            if self._database is None:
                self._database = _connected(self._path)
            rows = self._database.execute("SELECT 1 FROM well_signed WHERE cid = ?", (bytes(record),)).fetchall()
        return bool(rows)

    def close(self) -> None:
        with self._lock:
            if self._database is not None:
                self._database.close()


def _add_well_signed(database: sqlite3.Connection, records: Iterable[CID]) -> None:
    rows = ((bytes(record),) for record in records)
    database.executemany("INSERT OR IGNORE INTO well_signed VALUES (?)", rows)


def _connected(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=30.0)


@contextmanager
def _translated(path: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise _explained(path, getattr(error, "sqlite_errorcode", None), error) from error
    except OSError as error:
        raise _explained(path, None, error) from error


def known_apps(home: Home) -> list[KnownApp]:
    """As `Journal.apps` says, of a home that may have no journal yet."""
    if not home.journal.exists():
        return []
    with closing(Journal(home.journal)) as journal:
        return journal.apps()


def approved_apps(home: Home) -> frozenset[CID]:
    """The apps that the owner of a home lets run in it, besides those that are named."""
    return frozenset(known.app for known in known_apps(home) if known.approved)


def _explained(path: Path, code: int | None, error: Exception) -> PeerError:
    match code:
        case sqlite3.SQLITE_FULL:
            what, fix = (
                f"the disk of {path} is full; nothing was lost",
                "free some space and start the peer again",
            )
        case sqlite3.SQLITE_NOTADB | sqlite3.SQLITE_CORRUPT:
            what, fix = (
                f"{path} is no journal, or is damaged",
                f"put back a copy of {path}, or use another --home DIR",
            )
        case _:
            what, fix = f"the journal {path} cannot be used: {error}", "`peer doctor` checks the home"
    return PeerError(what, fix=fix, code=ExitCode.UNFINISHED)


def _finished(run: CID) -> str:
    return f"finished {run}"


def _head(row: Any) -> RunHead:
    run, federation, head, height, term, closed, role, engine, updated = row
    return RunHead(CID(run), CID(federation), CID(head), height, term, bool(closed), Role(role), engine, updated)


def _reply(row: Any) -> KeptReply:
    message, reply, state = row
    return KeptReply(bytes(message), CID(reply), None if state is None else CID(state))

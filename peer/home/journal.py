"""The journal: what a peer must not forget, in one SQLite file in its home.

Each method that changes something is one transaction and one sync. So a reply is never there without the state after
it, nor a head without its height.
"""

from __future__ import annotations

import secrets
import sqlite3
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from peer.base.errors import PeerError
from peer.home.home import Home
from peer.home.journal_file import JournalFile, connected, translated
from peer.home.kept_contents import KeptContents
from peer.home.kept_jobs import KeptJobs, forget_job, keep_run, names_taken
from protocol.blocks.cid import CID, Block, cbor_data_block
from protocol.records.bodies import Grant, Role
from protocol.records.signed_records import WellSigned
from protocol.run_names import name_after
from protocol.status.role_status import STANDBY
from protocol.wire.announcements import next_start


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
    """This peer's role in the run; auditor, if the run was imported."""
    engine: str
    """Where its blocks are, as ``--ipfs`` takes it."""
    updated: float
    """Seconds since 1970."""


@dataclass(frozen=True, slots=True)
class KeptReply:
    """A reply and the `Context.state` after it; None if the app failed before there was one."""

    message: bytes
    reply: CID
    state: CID | None


@dataclass(frozen=True, slots=True)
class KnownApp:
    """An app that the owner has approved, or that a run waits for."""

    app: CID
    """Its id (`protocol.blocks.bundle`)."""
    name: str
    """Its name in a run record; empty if none was seen."""
    run: CID | None
    """The last run that waited for it."""
    noted: float
    """When it was approved, or when the run began to wait: seconds since 1970."""
    approved: bool


@dataclass(frozen=True, slots=True)
class KnownRun:
    """What this home tells people of a run, besides its head. The chain knows nothing of it."""

    run: CID
    name: str
    """How the owner may call it here."""
    app: str
    """The app's own name, as its author chose it."""
    began: float
    """When this home first had to do with it: seconds since 1970."""
    round: int | None = None
    """The newest round that the app named."""
    outcome: str | None = None
    """How it ended (`protocol.records.bodies.Outcome`); None while it is open."""


@dataclass(frozen=True, slots=True)
class VerifiedHead:
    """The result of verifying a run up to a head (`peer.audit.kept_reports`)."""

    run: CID
    federation: CID
    head: CID
    reader: bytes
    """The reader's member id; empty if the reader has no keys."""
    encrypted: bool
    """Whether the run is encrypted."""
    basis: bytes
    """A digest of everything that the verdict rests on."""
    at: float
    """Seconds since 1970."""
    report: bytes = field(repr=False)
    """Sealed to the reader, if the reader has keys."""


class Journal:
    """An open journal, until its ``with`` block ends. Safe to use from several threads. When a method returns, what it
    wrote is on disk.

    Each method raises `PeerError` if the disk is full or the file is not a journal. Then nothing of that call is kept,
    and nothing kept before is lost.
    """

    def __init__(self, path: Path) -> None:
        self._well_signed = _WellSigned(path)
        self._file = JournalFile(path)
        self.jobs = KeptJobs(self._file)
        self.contents = KeptContents(self._file)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._well_signed.close()
        self._file.close()

    # -- this peer -------------------------------------------------------------------------------------------------

    def next_start(self, now: float) -> int:
        """The number of this start (`protocol.wire.announcements.next_start`), higher than that of any before."""
        with self._file.transaction() as database:
            row = database.execute("SELECT value FROM facts WHERE name = 'start'").fetchone()
            start = next_start(int(row[0]) if row else 0, now)
            database.execute("INSERT OR REPLACE INTO facts VALUES ('start', ?)", (str(start),))
        return start

    def remember_engine(self, engine: str) -> None:
        """Remember the engine, as ``--ipfs`` takes it, for commands without that option."""
        self._keep_fact("engine", engine)

    def engine(self) -> str | None:
        """The engine that was used last."""
        return self._fact("engine")

    def remember_reach(self, reach: str) -> None:
        """Remember where this home's node is reached (`peer.engine.kubo.reach`)."""
        self._keep_fact("reach", reach)

    def reach(self) -> str | None:
        """What was remembered last of where this home's node is reached."""
        return self._fact("reach")

    def remember_keeping(self, keeping: str) -> None:
        """Remember what stays of runs in this home (`peer.keeping.chosen`)."""
        self._keep_fact("keeping", keeping)

    def keeping(self) -> str | None:
        """What was remembered last of what stays."""
        return self._fact("keeping")

    def pin_owner(self) -> str:
        """This home's name in an engine that keeps pins for several homes: 16 hexadecimal digits, random."""
        with self._file.transaction() as database:
            name = secrets.token_hex(8)
            database.execute("INSERT OR IGNORE INTO facts VALUES ('pin-owner', ?)", (name,))
            row = database.execute("SELECT value FROM facts WHERE name = 'pin-owner'").fetchone()
        return str(row[0])

    def keep_place(self, place: str, run: CID | None = None) -> None:
        """Remember where this home is (`peer.home.home_location`), once a new run begins there, or the members have
        told what it may have forgotten of ``run``. If it was elsewhere before, it may have forgotten records of the
        other runs that it left open, until they are told of too."""
        with self._file.transaction() as database:
            row = database.execute("SELECT value FROM facts WHERE name = 'place'").fetchone()
            if row is not None and row[0] != place:
                led = database.execute("SELECT run FROM heads WHERE role = ? AND NOT closed", (Role.SERVER.value,))
                facts = [(_forgotten(CID(bytes(other))),) for (other,) in led.fetchall()]
                database.executemany("INSERT OR REPLACE INTO facts VALUES (?, '')", facts)
            if run is not None:
                database.execute("DELETE FROM facts WHERE name = ?", (_forgotten(run),))
            database.execute("INSERT OR REPLACE INTO facts VALUES ('place', ?)", (place,))

    def begin_at(self, place: str) -> None:
        """Remember where this home is, unless it was somewhere before: then it may have forgotten what it signed."""
        if self._fact("place") is None:
            self._keep_fact("place", place)

    def may_have_forgotten(self, run: CID, place: str) -> bool:
        """Whether this home, which is at ``place``, may have forgotten records or acks of a run: it was copied, or
        restored from a backup, and the members have not told it of that run since."""
        return self._fact("place") not in (None, place) or self._fact(_forgotten(run)) is not None

    def keep_watched(self, run: CID) -> None:
        """Remember that another server follows a run that this peer leads."""
        self._keep_fact(_watched(run), "")

    def was_watched(self, run: CID) -> bool:
        """Whether another server followed a run that this peer led."""
        return self._fact(_watched(run)) is not None

    def finish(self, run: CID) -> None:
        """Remember that nothing is left to do for a closed run: its peer here has ended."""
        self._keep_fact(f"finished {run}", "")

    def is_finished(self, run: CID) -> bool:
        """Whether nothing is left to do for the run."""
        return self._fact(f"finished {run}") is not None

    def _keep_fact(self, name: str, value: str) -> None:
        with self._file.transaction() as database:
            database.execute("INSERT OR REPLACE INTO facts VALUES (?, ?)", (name, value))

    def _fact(self, name: str) -> str | None:
        row = self._file.row("SELECT value FROM facts WHERE name = ?", name)
        return str(row[0]) if row else None

    # -- runs ------------------------------------------------------------------------------------------------------

    def keep_head(
        self, head: RunHead, well_signed: Iterable[CID] = (), job: int | None = None, *, leader: bytes | None = None
    ) -> None:
        """Replace the run's head, and keep which records were found `well_signed`. If it is the run of a ``job``, that
        is kept with its first head (`peer.home.kept_jobs.keep_run`). ``leader`` is who leads the run, if that is
        known."""
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
        with self._file.transaction() as database:
            database.execute("INSERT OR REPLACE INTO heads VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", values)
            if not head.closed:  # a takeover may have lost the close
                database.execute("DELETE FROM facts WHERE name = ?", (f"finished {head.run}",))
            _add_well_signed(database, well_signed)
            if leader is not None:
                told = (f"leader {head.run}", leader.hex())
                database.execute("INSERT OR REPLACE INTO facts VALUES (?, ?)", told)
            if job is not None:
                keep_run(database, job, head.run, head.updated)

    def leader_of(self, run: CID) -> bytes | None:
        """The member id of who led a run last, as far as this home knows; None if it does not."""
        kept = self._fact(f"leader {run}")
        return None if kept is None else bytes.fromhex(kept)

    def keep_newer_head(
        self, head: RunHead, well_signed: Iterable[CID] = (), job: int | None = None, *, leader: bytes | None = None
    ) -> None:
        """As `keep_head`, unless the head that is kept is in a higher term, or further in the same one: a process that
        verifies a run again, and is killed then, would leave an older head, and records might be signed anew."""
        known = self.head_of(head.run)
        if known is None or (known.term, known.height) <= (head.term, head.height):
            self.keep_head(head, well_signed, job, leader=leader)
        else:
            self.keep_well_signed(well_signed)

    def head_of(self, run: CID) -> RunHead | None:
        """The head of one run."""
        row = self._file.row("SELECT * FROM heads WHERE run = ?", bytes(run))
        return _head(row) if row else None

    def run_of(self, head: CID) -> RunHead | None:
        """The run that has this head."""
        row = self._file.row("SELECT * FROM heads WHERE head = ?", bytes(head))
        return _head(row) if row else None

    def heads(self) -> list[RunHead]:
        """The heads of all runs, the last changed first."""
        return [_head(row) for row in self._file.rows("SELECT * FROM heads ORDER BY updated DESC, run")]

    def forget_run(self, run: CID, records: Iterable[CID]) -> None:
        """Forget a run: its head, name, replies, kept keys, records beside it, what was verified of it, and its
        ``records`` that we signed. Without ``records``, what we signed stays with the replies and votes, so that we
        never sign what contradicts it. Proofs of equivocation stay in any case."""
        raw, ours = bytes(run), [(bytes(record),) for record in records]
        with self._file.transaction() as database:
            for table in (
                "heads",
                "known_runs",
                "beside",
                "verified",
                "kept_keys",
                *(["replies", "votes"] if ours else []),
            ):
                database.execute(f"DELETE FROM {table} WHERE run = ?", (raw,))
            for table in ("own", "well_signed"):
                database.executemany(f"DELETE FROM {table} WHERE cid = ?", ours)
            forget_job(database, run)
            database.execute("UPDATE apps SET run = NULL WHERE run = ? AND approved", (raw,))
            database.execute("DELETE FROM apps WHERE run = ? AND NOT approved", (raw,))
            facts = _forgotten(run), _watched(run), f"finished {run}", f"leader {run}"
            database.execute("DELETE FROM facts WHERE name IN (?, ?, ?, ?)", facts)

    def has_led(self, head: RunHead) -> bool:
        """Whether this peer led a run: it signed its run record, or leads it now. One that stood by only followed
        it."""
        return head.role is Role.SERVER and (self.own(head.run) is not None or self.leads(head))

    def leads(self, head: RunHead) -> bool:
        """Whether this peer was the one that led the run last, as far as it knows: it signed its newest record."""
        return head.role is Role.SERVER and self.own(head.head) is not None

    def part_in(self, head: RunHead) -> str:
        """What people are told of this peer's role in a run: a server that did not lead it stood by."""
        return STANDBY if head.role is Role.SERVER and not self.has_led(head) else head.role.value

    # -- what people are told of runs ------------------------------------------------------------------------------

    def name_run(self, run: CID, app: str, now: float) -> KnownRun:
        """Give a run a name in this home, made of its ``app``'s name, unless it has one, as the run of a job has."""
        with self._file.transaction() as database:
            row = database.execute("SELECT * FROM known_runs WHERE run = ?", (bytes(run),)).fetchone()
            if row is not None:
                return _known_run(row)
            name = name_after(app, names_taken(database))
            values = (bytes(run), name, app, now)
            database.execute("INSERT INTO known_runs (run, name, app, began) VALUES (?, ?, ?, ?)", values)
        return KnownRun(run, name, app, now)

    def note_round(self, run: CID, round: int) -> None:
        """Remember the newest round of a run that has a name."""
        with self._file.transaction() as database:
            database.execute("UPDATE known_runs SET round = ? WHERE run = ?", (round, bytes(run)))

    def note_outcome(self, run: CID, outcome: str) -> None:
        """Remember how a run that has a name has ended."""
        with self._file.transaction() as database:
            database.execute("UPDATE known_runs SET outcome = ? WHERE run = ?", (outcome, bytes(run)))

    def known_runs(self) -> dict[CID, KnownRun]:
        """The runs that have a name here."""
        return {run.run: run for run in map(_known_run, self._file.rows("SELECT * FROM known_runs"))}

    # -- replies ---------------------------------------------------------------------------------------------------

    def keep_reply(self, run: CID, message: bytes, reply: CID, state: CID | None) -> None:
        """Keep the reply to a message with the state after it. The first reply stays, because it was announced."""
        values = (bytes(run), message, bytes(reply), None if state is None else bytes(state))
        with self._file.transaction() as database:
            database.execute("INSERT OR IGNORE INTO replies (run, message, reply, state) VALUES (?, ?, ?, ?)", values)

    def replace_reply(self, run: CID, message: bytes, reply: CID, state: CID | None = None) -> None:
        """Keep the same answer to a message in the record that is signed anew, because the dispatch that the one before
        names is lost by a takeover. Its place stays, and its state, unless another is given."""
        values = (bytes(reply), None if state is None else bytes(state), bytes(run), message)
        with self._file.transaction() as database:
            database.execute(
                "UPDATE replies SET reply = ?, state = COALESCE(?, state) WHERE run = ? AND message = ?", values
            )

    def replies(self, run: CID) -> list[KeptReply]:
        """All replies in a run, in the order in which they were kept."""
        rows = self._file.rows("SELECT message, reply, state FROM replies WHERE run = ? ORDER BY ordinal", bytes(run))
        return [
            KeptReply(bytes(message), CID(reply), None if state is None else CID(state))
            for message, reply, state in rows
        ]

    def states_of(self, run: CID) -> list[CID]:
        """All `Context.state` of a run that no other run has, nor links as a content."""
        rows = self._file.rows(
            "SELECT DISTINCT state FROM replies WHERE run = ?1 AND state IS NOT NULL AND state NOT IN "
            "(SELECT state FROM replies WHERE run != ?1 AND state IS NOT NULL UNION SELECT content FROM linked)",
            bytes(run),
        )
        return [CID(state) for (state,) in rows]

    # -- apps ------------------------------------------------------------------------------------------------------

    def ask_for_app(self, app: CID, name: str, run: CID) -> None:
        """Remember that a run waits for the owner to approve its app."""
        values = (bytes(app), name, bytes(run), time.time())
        with self._file.transaction() as database:
            database.execute(
                "INSERT INTO apps VALUES (?, ?, ?, ?, FALSE)"
                " ON CONFLICT (app) DO UPDATE SET name = excluded.name, run = excluded.run",
                values,
            )

    def approve_app(self, app: CID) -> None:
        """Allow an app to run here from now on."""
        with self._file.transaction() as database:
            database.execute(
                "INSERT INTO apps VALUES (?, '', NULL, ?, TRUE)"
                " ON CONFLICT (app) DO UPDATE SET noted = excluded.noted, approved = TRUE WHERE NOT approved",
                (bytes(app), time.time()),
            )

    def forget_app(self, app: CID) -> bool:
        """Undo `approve_app` or `ask_for_app`. Returns whether the app was known."""
        with self._file.transaction() as database:
            return database.execute("DELETE FROM apps WHERE app = ?", (bytes(app),)).rowcount > 0

    def apps(self) -> list[KnownApp]:
        """The apps that are approved, and those that runs wait for, the newest first."""
        rows = self._file.rows("SELECT app, name, run, noted, approved FROM apps ORDER BY noted DESC, app")
        return [
            KnownApp(CID(app), name, CID(run) if run is not None else None, noted, bool(approved))
            for app, name, run, noted, approved in rows
        ]

    def approved_apps(self) -> frozenset[CID]:
        """The apps that may run here."""
        return frozenset(known.app for known in self.apps() if known.approved)

    # -- records this peer signed ----------------------------------------------------------------------------------

    def keep_own(self, blocks: Iterable[Block]) -> None:
        """Keep records that this peer signed. The engine has them too, but its disk may sync late."""
        with self._file.transaction() as database:
            rows = [(bytes(block.cid), block.data) for block in blocks]
            database.executemany("INSERT OR IGNORE INTO own VALUES (?, ?)", rows)

    def own(self, cid: CID) -> bytes | None:
        """The bytes of a record that this peer signed."""
        row = self._file.row("SELECT data FROM own WHERE cid = ?", bytes(cid))
        return bytes(row[0]) if row else None

    # -- records beside the chain of a run -------------------------------------------------------------------------

    def keep_beside(self, run: CID, blocks: Iterable[Block], well_signed: Iterable[CID] = ()) -> None:
        """Keep grants and acks, which belong to a run but not to its chain, and which of them were found
        `well_signed`."""
        rows = [(bytes(block.cid), bytes(run), block.data) for block in blocks]
        with self._file.transaction() as database:
            database.executemany("INSERT OR IGNORE INTO beside (cid, run, data) VALUES (?, ?, ?)", rows)
            _add_well_signed(database, well_signed)

    def beside(self, run: CID) -> list[Block]:
        """The records beside the chain of a run, in the order in which they were kept."""
        rows = self._file.rows("SELECT cid, data FROM beside WHERE run = ? ORDER BY ordinal", bytes(run))
        return [Block(CID(cid), bytes(data)) for cid, data in rows]

    def names_beside(self, run: CID) -> frozenset[CID]:
        """The CIDs of the records beside the chain of a run, with its proofs."""
        rows = self._file.rows(
            "SELECT cid FROM beside WHERE run = ?1 UNION SELECT proof FROM proofs WHERE run = ?1", bytes(run)
        )
        return frozenset(CID(cid) for (cid,) in rows)

    # -- votes for a run's leader ----------------------------------------------------------------------------------

    def keep_vote(self, run: CID, term: int, vote: Block) -> None:
        """Keep a vote of this peer's member in place of that in a lower term.

        Raises:
            PeerError: also if there is one in this term or a higher: a second is never kept, and so never sent.
        """
        with self._file.transaction() as database:
            kept = database.execute(
                "INSERT INTO votes VALUES (?, ?, ?) ON CONFLICT (run) DO UPDATE"
                " SET term = excluded.term, data = excluded.data WHERE excluded.term > term",
                (bytes(run), term, vote.data),
            ).rowcount
        if not kept:
            raise PeerError(
                f"this home has voted in the run {run} in term {term}, or in a higher one",
                fix="end the other peer that runs with this home",
            )

    def votes(self) -> dict[CID, Block]:
        """The newest vote in each run."""
        rows = self._file.rows("SELECT run, data FROM votes")
        return {CID(run): cbor_data_block(bytes(data)) for run, data in rows}

    # -- proofs of equivocation ------------------------------------------------------------------------------------

    def keep_proof(self, run: CID, proof: tuple[Block, Block, Block]) -> None:
        """Keep a proof block and the two records that it links (`protocol.records.equivocation`)."""
        values = (bytes(proof[0].cid), bytes(run), *(block.data for block in proof))
        with self._file.transaction() as database:
            database.execute("INSERT OR IGNORE INTO proofs VALUES (?, ?, ?, ?, ?)", values)

    def proofs(self, run: CID | None = None) -> list[tuple[Block, Block, Block]]:
        """The proofs of a run, or of all runs, each with the two records that it links."""
        rows = self._file.rows(
            "SELECT data, first, second FROM proofs WHERE ?1 IS NULL OR run = ?1 ORDER BY proof",
            None if run is None else bytes(run),
        )
        blocks = ([cbor_data_block(bytes(data)) for data in row] for row in rows)
        return [(proof, first, second) for proof, first, second in blocks]

    # -- keys that stay, and those that went --------------------------------------------------------------------------

    def keep_keys(self, grants: Iterable[tuple[Grant, Block]]) -> None:
        """Keep epoch keys that a member sealed for itself (`peer.erasure`), in place of what was kept of the same
        epochs."""
        rows = [(bytes(body.run), body.number, body.to, block.data) for body, block in grants]
        with self._file.transaction() as database:
            database.executemany("INSERT OR REPLACE INTO kept_keys VALUES (?, ?, ?, ?)", rows)

    def kept_keys(self) -> list[Block]:
        """The grants of `keep_keys`. They are for this home alone, and never exported."""
        return [cbor_data_block(bytes(data)) for (data,) in self._file.rows("SELECT data FROM kept_keys")]

    def erase(self, run: CID, epoch: int, others: Iterable[CID]) -> list[CID]:
        """Delete what could help to read ``run`` from ``epoch`` on: kept keys, the records beside it that are among
        ``others`` (grants), reports, and, if it is the whole run, the settings of its job, and which states its app
        had. Returns those states. No byte of it stays in the file.

        Raises:
            PeerError: also if another process holds an older state of the file.
        """
        with self._file.transaction() as database:
            database.execute("DELETE FROM kept_keys WHERE run = ? AND number >= ?", (bytes(run), epoch))
            database.executemany("DELETE FROM beside WHERE cid = ?", [(bytes(cid),) for cid in others])
            database.execute("DELETE FROM verified WHERE run = ?", (bytes(run),))
            states: list[CID] = []
            if epoch == 1:
                found = database.execute(
                    "SELECT DISTINCT state FROM replies WHERE run = ? AND state IS NOT NULL", (bytes(run),)
                )
                states = [CID(bytes(state)) for (state,) in found.fetchall()]
                database.execute("UPDATE replies SET state = NULL WHERE run = ?", (bytes(run),))
                forget_job(database, run)
        self._file.forget_for_good()
        return states

    def keep_erasure(self, federation: CID, member: bytes, word: Block, now: float) -> None:
        """Keep a member's newest word about shreddings (`protocol.federation.erasures`)."""
        with self._file.transaction() as database:
            values = (bytes(federation), member, now, word.data)
            database.execute("INSERT OR REPLACE INTO erasures VALUES (?, ?, ?, ?)", values)

    def erasures(self, federation: CID) -> list[Block]:
        """The newest word of each member, as far as this home has it."""
        rows = self._file.rows("SELECT data FROM erasures WHERE federation = ? ORDER BY member", bytes(federation))
        return [cbor_data_block(bytes(data)) for (data,) in rows]

    # -- what was verified -----------------------------------------------------------------------------------------

    def keep_verified(self, verified: VerifiedHead, well_signed: Iterable[CID] = ()) -> None:
        """Keep a result in place of the same reader's last one for the run, and which records were found
        `well_signed`."""
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
        with self._file.transaction() as database:
            database.execute("INSERT OR REPLACE INTO verified VALUES (?, ?, ?, ?, ?, ?, ?, ?)", values)
            _add_well_signed(database, well_signed)

    def verified(self, head: CID) -> list[VerifiedHead]:
        """The result of verifying up to a head, for each reader."""
        return [
            VerifiedHead(CID(run), CID(federation), CID(at_head), reader, bool(encrypted), basis, at, report)
            for run, federation, at_head, reader, encrypted, basis, at, report in self._file.rows(
                "SELECT * FROM verified WHERE head = ?", bytes(head)
            )
        ]

    def keep_well_signed(self, records: Iterable[CID]) -> None:
        """Keep which records were found `well_signed`, and nothing else."""
        with self._file.transaction() as database:
            _add_well_signed(database, records)

    @property
    def well_signed(self) -> WellSigned:
        """The records whose signatures this home has verified, so that it verifies each once. It does not wait for the
        sync of another thread."""
        return self._well_signed


class _WellSigned:
    """`Journal.well_signed`, with its own connection to the journal's file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._database: sqlite3.Connection | None = None

    def __contains__(self, record: object) -> bool:
        if not isinstance(record, CID):
            return False
        with self._lock, translated(self._path):
            if self._database is None:
                self._database = connected(self._path)
            rows = self._database.execute("SELECT 1 FROM well_signed WHERE cid = ?", (bytes(record),)).fetchall()
        return bool(rows)

    def close(self) -> None:
        with self._lock:
            if self._database is not None:
                self._database.close()


def _add_well_signed(database: sqlite3.Connection, records: Iterable[CID]) -> None:
    rows = ((bytes(record),) for record in records)
    database.executemany("INSERT OR IGNORE INTO well_signed VALUES (?)", rows)


def known_apps(home: Home) -> list[KnownApp]:
    """As `Journal.apps`, for a home that may have no journal yet."""
    if not home.journal.exists():
        return []
    with Journal(home.journal) as journal:
        return journal.apps()


def approved_apps(home: Home) -> frozenset[CID]:
    """As `Journal.approved_apps`, for a home that may have no journal yet."""
    return frozenset(known.app for known in known_apps(home) if known.approved)


def _watched(run: CID) -> str:
    return f"watched {run}"


def _forgotten(run: CID) -> str:
    """The name of the fact that records of a run may be forgotten."""
    return f"forgotten {run}"


def _known_run(row: Any) -> KnownRun:
    run, name, app, began, round, outcome = row
    return KnownRun(CID(run), name, app, began, round, outcome)


def _head(row: Any) -> RunHead:
    run, federation, head, height, term, closed, role, engine, updated = row
    return RunHead(CID(run), CID(federation), CID(head), height, term, bool(closed), Role(role), engine, updated)

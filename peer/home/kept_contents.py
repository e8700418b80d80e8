"""What a home has on disk of its runs, and what it has dropped: kept in the journal, so that neither takes a walk over
all blocks to tell (`peer.keeping`)."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from peer.home.journal_file import JournalFile
from protocol.blocks.cid import CID
from protocol.keeping.droppable import ExchangeAt, LinkedContents
from protocol.keeping.droppable import Kind as ContentKind

OF_THE_RUN: Final = 0
"""The number in place of an exchange's for what the run itself links: app, initial and final model."""

OF_LOST: Final = -1
"""The number in its place for what records of the run name, or named, that are not in its chain any more, because a
takeover has lost them."""


class Kind(StrEnum):
    """What something on disk is."""

    APP = "app"
    MODEL = ContentKind.MODEL.value
    UPDATE = ContentKind.UPDATE.value


class ContentState(StrEnum):
    """Whether a content is on disk. One without a state never was."""

    HERE = "here"
    GOING = "going"
    """It was decided to drop it, which may have been interrupted."""
    DROPPED = "dropped"


@dataclass(frozen=True, slots=True)
class Link:
    """A content that a record links."""

    exchange: int
    """The number of the exchange, or `OF_THE_RUN`."""
    kind: Kind
    content: CID


@dataclass(frozen=True, slots=True)
class StockOfRun:
    """Up to which record a run's contents are known."""

    run: CID
    head: CID
    height: int
    records: int
    """The bytes of its records, with what belongs to them."""
    plan: str
    """The run's own plan (`protocol.keeping.plan`); empty if it keeps everything."""


@dataclass(frozen=True, slots=True)
class Entry:
    """What one record adds to the stock of its run."""

    head: CID
    height: int
    size: int
    """Its bytes, with what belongs to it."""
    sent: tuple[bytes, ...] = ()
    """The messages that it sends: they are a new exchange."""
    answered: tuple[bytes, ...] = ()
    """The messages that it answers."""
    models: tuple[CID, ...] = ()
    updates: tuple[tuple[bytes, CID], ...] = ()
    """Each with the message that it answers."""
    app: CID | None = None
    of_run: tuple[CID, ...] = ()
    """Models that the run itself links."""
    plan: str = ""
    """The run's own plan, in its first record."""
    after: CID | None = None
    """The record before it; None if it is the first."""

    @property
    def contents(self) -> Iterator[tuple[Kind, CID]]:
        """All that it links."""
        yield from ((Kind.MODEL, model) for model in (*self.models, *self.of_run))
        yield from ((Kind.UPDATE, update) for _, update in self.updates)
        if self.app is not None:
            yield Kind.APP, self.app


@dataclass(frozen=True, slots=True)
class Used:
    """Bytes of one kind in one run."""

    run: CID
    kind: Kind
    bytes: int


class KeptContents:
    """The stock in a journal. Each change is on disk at return (`peer.home.journal.Journal`)."""

    def __init__(self, file: JournalFile) -> None:
        self._file = file

    # -- what runs link --------------------------------------------------------------------------------------------

    def stock_of(self, run: CID) -> StockOfRun | None:
        """Up to where the stock of a run is taken; None if it was not."""
        row = self._file.row("SELECT * FROM stock WHERE run = ?", bytes(run))
        return None if row is None else StockOfRun(CID(row[0]), CID(row[1]), row[2], row[3], row[4])

    def add(self, run: CID, after: CID | None, entries: Sequence[Entry]) -> int | None:
        """Add what records say, in the order of the chain, that come ``after`` the head up to which stock was taken.
        Returns their bytes; None, and nothing is added, if another process has added something meanwhile."""
        raw = bytes(run)
        with self._file.transaction() as database:
            row = database.execute("SELECT head FROM stock WHERE run = ?", (raw,)).fetchone()
            if (None if row is None else CID(row[0])) != after:
                return None
            row = database.execute("SELECT MAX(number) FROM exchanges WHERE run = ?", (raw,)).fetchone()
            newest = row[0] or 0
            for entry in entries:
                newest = _add(database, raw, entry, newest)
        return sum(entry.size for entry in entries)

    def begin_again(self, run: CID) -> None:
        """Forget what is known of a run's records, but not what was dropped, nor what they link: it may be lost."""
        with self._file.transaction() as database:
            for table in ("stock", "exchanges", "awaited"):
                database.execute(f"DELETE FROM {table} WHERE run = ?", (bytes(run),))
            database.execute("UPDATE OR REPLACE linked SET exchange = ? WHERE run = ?", (OF_LOST, bytes(run)))

    def lost(self, run: CID) -> list[tuple[CID, ContentKind]]:
        """What only lost records of a run link, once all that its chain has are read."""
        rows = self._file.rows(
            "SELECT DISTINCT content, kind FROM linked WHERE run = ?1 AND exchange = ?2 AND kind != ?3 "
            "AND content NOT IN (SELECT content FROM linked WHERE run = ?1 AND exchange != ?2)",
            bytes(run),
            OF_LOST,
            Kind.APP.value,
        )
        return [(CID(content), ContentKind(kind)) for content, kind in rows]

    def exchanges(self, run: CID) -> list[LinkedContents]:
        """The exchanges of a run with what they link, in the order of the chain."""
        raw = bytes(run)
        rows = self._file.rows("SELECT number, last_height FROM exchanges WHERE run = ? ORDER BY number", raw)
        waits = {number for (number,) in self._file.rows("SELECT exchange FROM awaited WHERE run = ?", raw)}
        links: dict[tuple[int, str], list[CID]] = {}
        for number, kind, content in self._file.rows("SELECT exchange, kind, content FROM linked WHERE run = ?", raw):
            links.setdefault((number, kind), []).append(CID(content))
        return [
            LinkedContents(
                ExchangeAt(number, last_height, number not in waits),
                tuple(links.get((number, Kind.MODEL), ())),
                tuple(links.get((number, Kind.UPDATE), ())),
            )
            for number, last_height in rows
        ]

    def links(self, run: CID) -> list[Link]:
        """Everything that a run links."""
        rows = self._file.rows("SELECT exchange, kind, content FROM linked WHERE run = ?", bytes(run))
        return [Link(exchange, Kind(kind), CID(content)) for exchange, kind, content in rows]

    def unseen(self, run: CID, since: int) -> list[Link]:
        """What the exchanges from number ``since`` on, and the run itself, link without its ever having been here."""
        rows = self._file.rows(
            "SELECT exchange, kind, linked.content FROM linked LEFT JOIN contents USING (content) "
            "WHERE run = ? AND (exchange >= ? OR exchange = 0) AND state IS NULL",
            bytes(run),
            since,
        )
        return [Link(exchange, Kind(kind), CID(content)) for exchange, kind, content in rows]

    def oldest_open(self, run: CID) -> int:
        """The first exchange in which a message waits, or the newest one; 0 if there is none."""
        row = self._file.row(
            "SELECT COALESCE((SELECT MIN(exchange) FROM awaited WHERE run = ?1), "
            "(SELECT MAX(number) FROM exchanges WHERE run = ?1), 0)",
            bytes(run),
        )
        return int(row[0])

    def newest_exchange(self, run: CID) -> int:
        """The number of a run's newest exchange; 0 if it has none."""
        return int(self._file.row("SELECT COALESCE(MAX(number), 0) FROM exchanges WHERE run = ?", bytes(run))[0])

    def needed_by_others(self, run: CID) -> frozenset[CID]:
        """The contents of a run that another run links too."""
        rows = self._file.rows(
            "SELECT DISTINCT mine.content FROM linked AS mine JOIN linked AS other "
            "ON mine.content = other.content AND other.run != mine.run WHERE mine.run = ?",
            bytes(run),
        )
        return frozenset(CID(content) for (content,) in rows)

    # -- what is on disk -------------------------------------------------------------------------------------------

    def hold(self, run: CID, kind: Kind, content: CID, blocks: Mapping[CID, int], now: float) -> int:
        """A content is here, of these blocks with their sizes. Returns how many bytes are new."""
        with self._file.transaction() as database:
            done = database.execute(
                "INSERT OR IGNORE INTO contents VALUES (?, ?, ?)", (bytes(content), ContentState.HERE.value, now)
            )
            if not done.rowcount:
                return 0
            new = 0
            for block, size in blocks.items():
                again = database.execute("UPDATE held SET holders = holders + 1 WHERE block = ?", (bytes(block),))
                if not again.rowcount:
                    values = (bytes(block), size, 1, bytes(run), kind.value)
                    database.execute("INSERT INTO held VALUES (?, ?, ?, ?, ?)", values)
                    new += size
        return new

    def let_go(self, content: CID, blocks: Sequence[CID], now: float) -> int:
        """A content, of these blocks, is about to be dropped. Returns how many bytes go with it."""
        freed = 0
        with self._file.transaction() as database:
            _set_state(database, content, ContentState.GOING, now)
            for block in blocks:
                key = (bytes(block),)
                database.execute("UPDATE held SET holders = holders - 1 WHERE block = ?", key)
                for (size,) in database.execute("SELECT bytes FROM held WHERE block = ? AND holders <= 0", key):
                    freed += size
            database.execute("DELETE FROM held WHERE holders <= 0")
        return freed

    def dropped(self, contents: Iterable[CID], now: float) -> None:
        """These contents are dropped."""
        with self._file.transaction() as database:
            for content in contents:
                _set_state(database, content, ContentState.DROPPED, now)

    def going(self) -> list[CID]:
        """The contents that are about to be dropped."""
        rows = self._file.rows("SELECT content FROM contents WHERE state = ?", ContentState.GOING.value)
        return [CID(content) for (content,) in rows]

    def in_state(self, run: CID, *states: ContentState) -> frozenset[CID]:
        """The contents of a run that are in one of these states."""
        marks = ", ".join("?" * len(states))
        rows = self._file.rows(
            f"SELECT content FROM linked JOIN contents USING (content) WHERE run = ? AND state IN ({marks})",
            bytes(run),
            *(state.value for state in states),
        )
        return frozenset(CID(content) for (content,) in rows)

    def gone(self, run: CID) -> frozenset[CID]:
        """The contents of a run that were dropped, or are about to be."""
        return self.in_state(run, ContentState.GOING, ContentState.DROPPED)

    def used(self) -> list[Used]:
        """The bytes on disk, by run and kind. What several need is counted once, where it was first."""
        rows = self._file.rows("SELECT run, kind, SUM(bytes) FROM held GROUP BY run, kind ORDER BY run, kind")
        return [Used(CID(run), Kind(kind), size) for run, kind, size in rows]

    def used_in_all(self) -> int:
        """The bytes on disk of all contents, and of all records."""
        held = self._file.row("SELECT SUM(bytes) FROM held")[0] or 0
        return int(held + (self._file.row("SELECT SUM(records) FROM stock")[0] or 0))

    def goes_with(self, blocks: Iterable[CID], holders: Mapping[CID, int]) -> int:
        """How many bytes go with these blocks, if each loses so many of the contents that hold it."""
        freed = 0
        for block in blocks:
            row = self._file.row("SELECT bytes, holders FROM held WHERE block = ?", bytes(block))
            if row is not None and row[1] <= holders[block]:
                freed += row[0]
        return freed

    # -- forgetting a run ------------------------------------------------------------------------------------------

    def forget(self, run: CID) -> None:
        """Forget what a run links, and the contents that no other run does."""
        raw = bytes(run)
        with self._file.transaction() as database:
            for table in ("stock", "exchanges", "awaited", "linked"):
                database.execute(f"DELETE FROM {table} WHERE run = ?", (raw,))
            database.execute("DELETE FROM contents WHERE content NOT IN (SELECT content FROM linked)")


def _add(database: sqlite3.Connection, run: bytes, entry: Entry, newest: int) -> int:
    """Add one entry. Returns the number of the newest exchange."""
    if entry.sent:
        newest += 1
        database.execute("INSERT OR REPLACE INTO exchanges VALUES (?, ?, ?)", (run, newest, entry.height))
        database.executemany(
            "INSERT OR REPLACE INTO awaited VALUES (?, ?, ?)", [(run, message, newest) for message in entry.sent]
        )
    links = [(newest, Kind.MODEL, model) for model in entry.models]
    links += [(OF_THE_RUN, Kind.MODEL, model) for model in entry.of_run]
    if entry.app is not None:
        links.append((OF_THE_RUN, Kind.APP, entry.app))
    at = {
        message: number
        for message in entry.answered
        for (number,) in database.execute(
            "SELECT exchange FROM awaited WHERE run = ? AND message = ?", (run, message)
        ).fetchall()
    }
    links += [(at.get(message, newest), Kind.UPDATE, update) for message, update in entry.updates]
    database.executemany(
        "INSERT OR IGNORE INTO linked VALUES (?, ?, ?, ?)",
        [(run, number, kind.value, bytes(content)) for number, kind, content in links],
    )
    # what a record links anew is here again, whatever was dropped before, or was to be
    database.executemany(
        "DELETE FROM contents WHERE content = ? AND state != ?",
        [(bytes(content), ContentState.HERE.value) for _, _, content in links],
    )
    database.executemany(
        "UPDATE exchanges SET last_height = ? WHERE run = ? AND number = ?",
        [(entry.height, run, number) for number in set(at.values())],
    )
    database.executemany(
        "DELETE FROM awaited WHERE run = ? AND message = ?", [(run, message) for message in entry.answered]
    )
    database.execute(
        "INSERT INTO stock VALUES (?, ?, ?, ?, ?) ON CONFLICT (run) DO UPDATE SET head = excluded.head, "
        "height = excluded.height, records = records + excluded.records",
        (run, bytes(entry.head), entry.height, entry.size, entry.plan),
    )
    return newest


def _set_state(database: sqlite3.Connection, content: CID, state: ContentState, now: float) -> None:
    database.execute("INSERT OR REPLACE INTO contents VALUES (?, ?, ?)", (bytes(content), state.value, now))

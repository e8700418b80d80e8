"""What a reader of a run must remember. It is on disk, so that memory does not grow with the length of the chain."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from typing import Self

from protocol.blocks.cid import CID

_SCHEMA = """
CREATE TABLE chain (depth INTEGER PRIMARY KEY, cid BLOB NOT NULL UNIQUE);
CREATE TABLE seen (cid BLOB PRIMARY KEY, size INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE said (place BLOB NOT NULL, by BLOB NOT NULL, cid BLOB NOT NULL, PRIMARY KEY (place, by)) WITHOUT ROWID;
CREATE TABLE well_signed (cid BLOB PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE lacking (
    ordinal INTEGER PRIMARY KEY, content BLOB NOT NULL UNIQUE, height INTEGER NOT NULL, block BLOB NOT NULL,
    what TEXT NOT NULL
);
CREATE TABLE uses (
    content BLOB NOT NULL, kind TEXT NOT NULL, number INTEGER NOT NULL, PRIMARY KEY (content, kind, number)
) WITHOUT ROWID;
CREATE TABLE rows (number INTEGER PRIMARY KEY, text TEXT NOT NULL);
"""


class Scratch:
    """A database in a temporary file that disappears with the process."""

    def __init__(self) -> None:
        self._database = sqlite3.connect("", isolation_level=None, check_same_thread=False)
        self._database.executescript(_SCHEMA)
        self._database.execute("BEGIN")  # one transaction for all: nobody else reads it, and it need not survive

    def close(self) -> None:
        """Forget everything."""
        self._database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # -- the chain -------------------------------------------------------------------------------------------------

    def add_older(self, cid: CID) -> None:
        """Note a record of the chain, the newest first."""
        self._database.execute("INSERT INTO chain (cid) VALUES (?)", (bytes(cid),))

    def length(self) -> int:
        """How many records are noted."""
        return int(self._database.execute("SELECT count(*) FROM chain").fetchone()[0])

    def oldest_first(self) -> Iterator[CID]:
        """The noted records, the run record first."""
        return (CID(cid) for (cid,) in self._database.execute("SELECT cid FROM chain ORDER BY depth DESC"))

    def newest_first(self) -> Iterator[CID]:
        """The noted records, the head first."""
        return (CID(cid) for (cid,) in self._database.execute("SELECT cid FROM chain ORDER BY depth"))

    def in_chain(self, cid: CID) -> bool:
        """Whether a record is noted."""
        return self._database.execute("SELECT 1 FROM chain WHERE cid = ?", (bytes(cid),)).fetchone() is not None

    # -- blocks and contents ---------------------------------------------------------------------------------------

    def see(self, cid: CID, size: int) -> bool:
        """Note a block or a content of ``size`` bytes; False if it was noted before."""
        return self._database.execute("INSERT OR IGNORE INTO seen VALUES (?, ?)", (bytes(cid), size)).rowcount == 1

    def size_of(self, cid: CID) -> int | None:
        """The size that a block or a content was noted with; None if it was not noted."""
        row = self._database.execute("SELECT size FROM seen WHERE cid = ?", (bytes(cid),)).fetchone()
        return int(row[0]) if row else None

    # -- contents that are not whole -------------------------------------------------------------------------------

    def lack(self, content: CID, height: int, block: CID, what: str) -> None:
        """Note that a content is not whole: where it was met first, which block is not here, and that in words."""
        row = (bytes(content), height, bytes(block), what)
        self._database.execute("INSERT OR IGNORE INTO lacking (content, height, block, what) VALUES (?, ?, ?, ?)", row)

    def lacks(self, content: CID) -> bool:
        """Whether that is noted of a content."""
        return (
            self._database.execute("SELECT 1 FROM lacking WHERE content = ?", (bytes(content),)).fetchone() is not None
        )

    def use(self, content: CID, kind: str, number: int) -> None:
        """Note that an exchange links a content."""
        self._database.execute("INSERT OR IGNORE INTO uses VALUES (?, ?, ?)", (bytes(content), kind, number))

    def uses_of(self, content: CID) -> list[tuple[str, int]]:
        """What was noted of a content with `use`."""
        rows = self._database.execute("SELECT kind, number FROM uses WHERE content = ?", (bytes(content),))
        return [(str(kind), int(number)) for kind, number in rows]

    def lacking(self) -> Iterator[tuple[CID, int, CID, str, str, int]]:
        """What was noted with `lack`, in that order, with what was noted of each with `use`: a line for each use."""
        rows = self._database.execute(
            "SELECT content, height, block, what, kind, number FROM lacking JOIN uses USING (content) ORDER BY ordinal"
        )
        return ((CID(content), at, CID(block), what, kind, number) for content, at, block, what, kind, number in rows)

    # -- who said what where ---------------------------------------------------------------------------------------

    def say(self, place: bytes, by: bytes, cid: CID) -> CID | None:
        """Note the record ``cid``, ``by`` somebody, at a place. Returns the other record of theirs that was noted there
        before, if any."""
        key = (place, by)
        row = self._database.execute("SELECT cid FROM said WHERE place = ? AND by = ?", key).fetchone()
        if row is None:
            self._database.execute("INSERT INTO said VALUES (?, ?, ?)", (*key, bytes(cid)))
            return None
        return None if bytes(row[0]) == bytes(cid) else CID(row[0])

    # -- signatures ------------------------------------------------------------------------------------------------

    def note_well_signed(self, records: Iterable[CID]) -> None:
        """Note records whose signatures were found right."""
        rows = ((bytes(record),) for record in records)
        self._database.executemany("INSERT OR IGNORE INTO well_signed VALUES (?)", rows)

    def well_signed(self) -> Iterator[CID]:
        """The records whose signatures were found right."""
        return (CID(cid) for (cid,) in self._database.execute("SELECT cid FROM well_signed"))

    # -- lines of the result ---------------------------------------------------------------------------------------

    def put_row(self, number: int, text: str) -> None:
        """Keep a line of the result, in place of the one with this number, if there is one."""
        self._database.execute("INSERT OR REPLACE INTO rows VALUES (?, ?)", (number, text))

    def row(self, number: int) -> str | None:
        """A kept line."""
        row = self._database.execute("SELECT text FROM rows WHERE number = ?", (number,)).fetchone()
        return str(row[0]) if row else None

    def rows(self) -> Iterator[str]:
        """The kept lines, by number."""
        return (str(text) for (text,) in self._database.execute("SELECT text FROM rows ORDER BY number"))

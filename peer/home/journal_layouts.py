"""The layouts of the journal's tables (`peer.home.journal`)."""

from __future__ import annotations

from typing import Final

LAYOUTS: Final = (
    """
CREATE TABLE facts (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE heads (
    run BLOB PRIMARY KEY, federation BLOB NOT NULL, head BLOB NOT NULL, height INTEGER NOT NULL, term INTEGER NOT NULL,
    closed INTEGER NOT NULL, role TEXT NOT NULL, engine TEXT NOT NULL, updated REAL NOT NULL
) WITHOUT ROWID;
CREATE TABLE replies (
    ordinal INTEGER PRIMARY KEY AUTOINCREMENT, run BLOB NOT NULL, message BLOB NOT NULL, reply BLOB NOT NULL,
    state BLOB,
    UNIQUE (run, message)
);
CREATE TABLE own (cid BLOB PRIMARY KEY, data BLOB NOT NULL) WITHOUT ROWID;
""",
    """
CREATE TABLE apps (
    bundle BLOB PRIMARY KEY, name TEXT NOT NULL, run BLOB, noted REAL NOT NULL, approved INTEGER NOT NULL
) WITHOUT ROWID;
""",
    """
CREATE TABLE beside (
    ordinal INTEGER PRIMARY KEY AUTOINCREMENT, cid BLOB NOT NULL UNIQUE, run BLOB NOT NULL, data BLOB NOT NULL
);
""",
    """
CREATE TABLE proofs (
    proof BLOB PRIMARY KEY, run BLOB NOT NULL, data BLOB NOT NULL, first BLOB NOT NULL, second BLOB NOT NULL
) WITHOUT ROWID;
""",
    """
ALTER TABLE apps RENAME COLUMN bundle TO app;
""",
    """
CREATE TABLE verified (
    run BLOB NOT NULL, federation BLOB NOT NULL, head BLOB NOT NULL, reader BLOB NOT NULL, encrypted INTEGER NOT NULL,
    basis BLOB NOT NULL, at REAL NOT NULL, report BLOB NOT NULL,
    UNIQUE (run, reader)
);
CREATE INDEX verified_heads ON verified (head);
""",
    """
CREATE TABLE well_signed (cid BLOB PRIMARY KEY) WITHOUT ROWID;
""",
    """
CREATE TABLE known_runs (
    run BLOB PRIMARY KEY, name TEXT NOT NULL UNIQUE, app TEXT NOT NULL, began REAL NOT NULL, round INTEGER, outcome TEXT
) WITHOUT ROWID;
""",
    """
CREATE TABLE jobs (
    number INTEGER PRIMARY KEY AUTOINCREMENT, key BLOB NOT NULL UNIQUE, asked REAL NOT NULL, asker BLOB NOT NULL,
    federation BLOB NOT NULL, app BLOB NOT NULL, app_name TEXT NOT NULL, name TEXT NOT NULL UNIQUE,
    settings BLOB NOT NULL, run BLOB UNIQUE, ended REAL, why TEXT NOT NULL DEFAULT ''
);
""",
    """
CREATE TABLE stock (
    run BLOB PRIMARY KEY, head BLOB NOT NULL, height INTEGER NOT NULL, records INTEGER NOT NULL, plan TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE exchanges (
    run BLOB NOT NULL, number INTEGER NOT NULL, last_height INTEGER NOT NULL, PRIMARY KEY (run, number)
) WITHOUT ROWID;
CREATE TABLE awaited (
    run BLOB NOT NULL, message BLOB NOT NULL, exchange INTEGER NOT NULL, PRIMARY KEY (run, message)
) WITHOUT ROWID;
CREATE TABLE linked (
    run BLOB NOT NULL, exchange INTEGER NOT NULL, kind TEXT NOT NULL, content BLOB NOT NULL,
    PRIMARY KEY (run, exchange, kind, content)
) WITHOUT ROWID;
CREATE INDEX linked_contents ON linked (content);
CREATE TABLE contents (content BLOB PRIMARY KEY, state TEXT NOT NULL, at REAL NOT NULL) WITHOUT ROWID;
CREATE TABLE held (
    block BLOB PRIMARY KEY, bytes INTEGER NOT NULL, holders INTEGER NOT NULL, run BLOB NOT NULL, kind TEXT NOT NULL
) WITHOUT ROWID;
CREATE INDEX held_by_nobody ON held (holders) WHERE holders <= 0;
INSERT OR IGNORE INTO facts
    SELECT 'keeping', 'models=all updates=all' || char(59) || ' disk' WHERE EXISTS (SELECT 1 FROM heads);
""",
    """
CREATE TABLE kept_keys (
    run BLOB NOT NULL, number INTEGER NOT NULL, member BLOB NOT NULL, data BLOB NOT NULL,
    UNIQUE (run, number, member)
);
CREATE TABLE erasures (
    federation BLOB NOT NULL, member BLOB NOT NULL, heard REAL NOT NULL, data BLOB NOT NULL,
    UNIQUE (federation, member)
);
""",
    """
CREATE TABLE votes (run BLOB PRIMARY KEY, term INTEGER NOT NULL, data BLOB NOT NULL) WITHOUT ROWID;
""",
)
"""What each layout adds to the one before. A journal with an older layout is upgraded when it is opened.

A home that had runs before it could drop anything keeps all of them: the default plan is for homes whose owners began
with it. `peer keep` shows what is set."""

"""What a home takes on the disk, by run and kind (`peer du`)."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from peer.engine import without_credentials
from peer.engine.chosen_engine import MANAGED
from peer.history.listed_runs import ListedRun, RunState
from peer.home.home import Home
from peer.home.journal import Journal
from peer.home.kept_contents import Kind
from peer.keeping.chosen import chosen_keeping
from peer.keeping.dropping import Dropping
from protocol.blocks.cid import CID
from protocol.keeping.home_plan import Keeping

LOCAL: Final = "local:"


@dataclass(frozen=True, slots=True)
class RunUse:
    """What one run takes, in bytes. What several runs need is counted at one of them."""

    run: CID
    name: str
    role: str
    state: RunState
    records: int
    app: int
    models: int
    updates: int
    can_go: int
    """What the home's plan, or the run's, lets go now."""
    dropped: int
    """How many contents were dropped."""

    @property
    def total(self) -> int:
        """All of it."""
        return self.records + self.app + self.models + self.updates


@dataclass(frozen=True, slots=True)
class DiskUse:
    """What a home takes, in bytes."""

    home: str
    engine: str
    runs: tuple[RunUse, ...]
    journal: int
    logs: int
    apps: int
    """Unpacked apps, and what apps left in their folders."""
    others: int
    """What the engine holds besides: its own files, and what is of other homes or not pinned."""
    free: int
    """Bytes that the home's disk has left."""
    keeping: Keeping
    unknown: tuple[str, ...]
    """Why some runs could not be looked at."""

    @property
    def of_runs(self) -> int:
        """What the budget counts."""
        return sum(run.total for run in self.runs)

    @property
    def total(self) -> int:
        """All of it."""
        return self.of_runs + self.journal + self.logs + self.apps + self.others


def disk_use(home: Home, listed: Sequence[ListedRun], journal: Journal, dropping: Dropping) -> DiskUse:
    """What a home takes now, with its ``listed`` runs. Only records that are new since the last time are read.

    Raises:
        EngineError: if the engine cannot be used.
    """
    unknown = dropping.stock.take_all()
    keeping = chosen_keeping(journal)
    used = {(each.run, each.kind): each.bytes for each in journal.contents.used()}
    runs = tuple(_run(each, used, journal, dropping, keeping) for each in listed)
    address = journal.engine() or MANAGED
    ours = sum(run.total for run in runs)
    held = tree_size(home.path / "ipfs") if address == MANAGED else dropping.engine.status().bytes_stored
    return DiskUse(
        home=str(home.path),
        engine=without_credentials(address),
        runs=runs,
        journal=sum(map(_size, home.path.glob("journal.db*"))),
        logs=tree_size(home.path / "logs"),
        apps=tree_size(home.path / "apps") + tree_size(home.path / "scratch"),
        others=max(0, held - ours),
        free=shutil.disk_usage(home.path).free,
        keeping=keeping,
        unknown=tuple(unknown),
    )


def _run(
    listed: ListedRun,
    used: dict[tuple[CID, Kind], int],
    journal: Journal,
    dropping: Dropping,
    keeping: Keeping,
) -> RunUse:
    run = listed.head.run
    stock = journal.contents.stock_of(run)
    going = [each.content for each in dropping.may_go(listed.head, keeping, pressed=True)] if stock else []
    return RunUse(
        run=run,
        name=listed.name,
        role=listed.role,
        state=listed.state,
        records=0 if stock is None else stock.records,
        app=used.get((run, Kind.APP), 0),
        models=used.get((run, Kind.MODEL), 0),
        updates=used.get((run, Kind.UPDATE), 0),
        can_go=dropping.sizes(going),
        dropped=len(journal.contents.gone(run)),
    )


def tree_size(folder: Path) -> int:
    """The bytes of all files under a folder; 0 if there is none."""
    return sum(_sizes(folder))


def _sizes(folder: Path) -> Iterable[int]:
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            with contextlib.suppress(OSError):  # it has gone meanwhile
                if entry.is_dir(follow_symlinks=False):
                    yield from _sizes(Path(entry.path))
                else:
                    yield entry.stat(follow_symlinks=False).st_size


def _size(file: Path) -> int:
    with contextlib.suppress(OSError):
        return file.stat().st_size
    return 0

"""What the page shows, kept up to date in a thread: the status, the runs of the home, and those that somebody reads."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any, Final

from peer.audit.confirmations import is_its_authors
from peer.audit.terms.settling import settled_by
from peer.base import logs
from peer.base.errors import PeerError
from peer.control.asking import ask
from peer.control.requests import Status
from peer.engine import open_engine, without_credentials
from peer.engine.chosen_engine import MANAGED, chosen, running_node
from peer.engine.interface import Engine, EngineError
from peer.engine.node_places import node_folder
from peer.erasure.shredded_runs import by_whom, why_shredded
from peer.erasure.words import statuses
from peer.history.chain_follower import ChainFollower, LeftBehind
from peer.history.listed_runs import state_of
from peer.history.rounds import Exchange
from peer.home.acks_grants_proofs import beside_here
from peer.home.federations import FederationStore, StoredFederation
from peer.home.home import Home
from peer.home.journal import Journal, KnownRun, RunHead
from peer.home.kept_contents import Kind
from peer.home.reader_choice import ReaderChoice, with_names
from peer.keeping.chosen import chosen_keeping
from peer.membership.waiting_changes import waiting_changes
from peer.status.journal_status import journal_status
from peer.status.peer_status import PeerStatus
from peer.web.here import BlocksHere
from peer.web.run_view import Recomputed, RunView
from protocol.blocks.cid import CID, Block, BlockError
from protocol.chain.chain import Chain
from protocol.federation.run_keys import read_private
from protocol.keeping.best import BestSoFar
from protocol.records.bodies import Ack, Comparison, RecomputedAck, Run, RunPrivate
from protocol.records.signed_records import WellSigned, parse_record
from protocol.visible import visible
from protocol.wire.announcements import Position

EVERY: Final = 1.0
"""Seconds between two looks at the home."""

ANSWERS_WITHIN: Final = 5.0
"""Seconds that the running peer has to tell its status."""

RUNS: Final = 200
"""Runs that the page lists."""

OPEN_AT_ONCE: Final = 8
"""Runs that are kept in memory. The one read longest ago is forgotten first."""

READS_AT_ONCE: Final = 64
"""Exchanges that are read between two looks at the home, so that a long run does not hold up the rest."""

RECORDS_AT_ONCE: Final = 256
"""As `READS_AT_ONCE`, on the way back from a head, where nothing but the records is read."""


class NotHere(Exception):
    """What is asked for is not in this home, or cannot be read now. The message says why."""


class _Reading:
    """A run that somebody looks at."""

    def __init__(self, view: RunView, follower: ChainFollower) -> None:
        self.view = view
        self.follower = follower
        self.used = time.monotonic()
        self.back: Iterator[Block] | None = None
        """The way back from the newest head to what is verified; None if it was gone."""
        self.newer: list[Block] = []
        """The records that were met on it."""
        self.coming: Iterator[Exchange] | None = None
        """What is to be verified of them; None if all of it was."""
        self.failed_at: CID | None = None
        """The head up to which the run could not be read: it is tried again once there is another."""
        self.confirmed_by: tuple[frozenset[CID], int] | None = None
        """What was beside the chain, and its height, when it was last seen who has confirmed it."""


class Board:
    """Everything that the page shows. Safe to use from several threads; `watching` keeps it up to date."""

    def __init__(self, home: Home, ipfs: str | None, readers: ReaderChoice) -> None:
        self.home = home
        self.ipfs = ipfs
        self.readers = readers
        self._engines: dict[str, Engine] = {}
        """The one that was named; or this home's own nodes, by their folders, one for each federation."""
        self._journal: Journal | None = None
        self._why_no_engine = ""
        self._told: PeerStatus | PeerError = PeerError("nobody has looked yet")
        self._heads: list[RunHead] = []
        self._known: dict[CID, KnownRun] = {}
        self._readings: dict[CID, _Reading] = {}
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._changed = 0

    @contextlib.contextmanager
    def watching(self) -> Iterator[Board]:
        """Keep up to date until the context ends."""
        self._look()
        thread = threading.Thread(target=self._run, name="board", daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self._over.set()
            thread.join(5.0)
            for engine in self._engines.values():
                engine.close()
            if self._journal is not None:
                self._journal.close()

    # -- what the page asks for -------------------------------------------------------------------------------------

    @property
    def version(self) -> int:
        """Grows with each change."""
        return self._changed

    def status(self) -> PeerStatus:
        """The status of the peer.

        Raises:
            PeerError: if it cannot be told.
        """
        if isinstance(self._told, PeerError):
            raise self._told
        return self._told

    def runs(self) -> list[dict[str, Any]]:
        """The runs of the home, the last changed first."""
        stored = FederationStore(self.home).all()
        names = {each.id: each.manifest.name for each in stored}
        shredded = {shredding.run for each in stored for shredding in each.manifest.shredded}
        parts = () if isinstance(self._told, PeerError) or not self._told.running else self._told.parts
        running = {part.role.run.run for part in parts if part.role.run is not None}
        return [
            {
                "run": str(head.run),
                "name": self._name_of(head.run),
                "round": known.round if (known := self._known.get(head.run)) else None,
                "head": str(head.head),
                "height": head.height,
                "closed": head.closed,
                "state": state_of(head, known, is_running=head.run in running).value,
                "shredded": head.run in shredded,
                "role": head.role.value if self._journal is None else self._journal.part_in(head),
                "federation": visible(names.get(head.federation, "")),
                "updated": head.updated,
            }
            for head in self._heads[:RUNS]
        ]

    def federations(self) -> list[dict[str, Any]]:
        """The federations of the home, with their members."""
        return [
            _federation(stored)
            | {"waits": list(waiting_changes(self.home, stored, time.time())), "shredded": self._shredded(stored)}
            for stored in FederationStore(self.home).all()
        ]

    def view(self, run: CID) -> RunView:
        """A run, which is read from now on.

        Raises:
            NotHere: if it is no run of this home, or its blocks cannot be read.
        """
        with self._lock:
            if (reading := self._readings.get(run)) is not None:
                reading.used = time.monotonic()
                return reading.view
        head = next((head for head in self._heads if head.run == run), None)
        if head is None:
            raise NotHere("this home has no such run")
        return self._opened(head).view

    def about(self, run: CID) -> dict[str, Any]:
        """The head of a run's page: what was read of it, and how much there is to read.

        Raises:
            NotHere: as `view`.
        """
        summary = self.view(run).summary()
        head = next((head for head in self._heads if head.run == run), None)
        known, closed = (0, False) if head is None else (head.height, head.closed)
        stored = None if head is None else self._federation_of(head)
        of_home = {
            "name": self._name_of(run),
            "known": max(known, summary["height"]),
            "dropped": 0 if self._journal is None else len(self._journal.contents.gone(run)),
            "shredded": visible(why_shredded(stored, run)),
        }
        return {**summary, "closed": closed or summary["closed"], **of_home}

    def blocks(self) -> BlocksHere:
        """The blocks that are here.

        Raises:
            NotHere: if the engine cannot be used.
        """
        if not self._engines:
            raise NotHere(self._why_no_engine or "the engine is not open yet")
        return BlocksHere(list(self._engines.values()), self._journal)

    def disk(self) -> dict[str, Any]:
        """How much of the disk the home and its engine take."""
        health = None if isinstance(self._told, PeerError) else self._told.health
        engine = None if health is None else health.engine
        return {
            "home": _bytes_in(self.home.path),
            "stored": None if engine is None else engine.bytes_stored,
            "free": None if health is None else health.free,
            "grown": None if health is None else health.grown,
            "since": None if health is None else health.since,
            **({} if self._journal is None else self._kept(self._journal)),
        }

    def _kept(self, journal: Journal) -> dict[str, Any]:
        """What stays of the runs, and what they take, as far as stock of them was taken."""
        keeping = chosen_keeping(journal)
        used = {(each.run, each.kind): each.bytes for each in journal.contents.used()}
        return {
            "plan": "default" if keeping.plan is None else str(keeping.plan),
            "budget": str(keeping.budget),
            "used": journal.contents.used_in_all(),
            "runs": [
                {
                    "run": str(head.run),
                    "name": self._name_of(head.run),
                    "role": journal.part_in(head),
                    "records": None if (stock := journal.contents.stock_of(head.run)) is None else stock.records,
                    "app": used.get((head.run, Kind.APP), 0),
                    "models": used.get((head.run, Kind.MODEL), 0),
                    "updates": used.get((head.run, Kind.UPDATE), 0),
                    "dropped": len(journal.contents.gone(head.run)),
                }
                for head in self._heads[:RUNS]
            ],
        }

    # -- below ------------------------------------------------------------------------------------------------------

    def _federation_of(self, head: RunHead) -> StoredFederation | None:
        return next((each for each in FederationStore(self.home).all() if each.id == head.federation), None)

    def _shredded(self, stored: StoredFederation) -> list[dict[str, Any]]:
        """The runs whose keys are to be destroyed, and who says that it has done so."""
        if self._journal is None:
            return []
        found = [(each, list(statuses(stored, each, self._journal))) for each in stored.manifest.shredded]
        return [
            {
                "run": str(shredding.run),
                "what": visible(by_whom(stored, shredding)),
                "destroyed": sum(each.confirmed for each in members),
                "of": len(members),
            }
            for shredding, members in found
        ]

    def _name_of(self, run: CID) -> str:
        return self._known[run].name if run in self._known else ""

    def _run(self) -> None:
        wait = 0.0
        while not self._over.wait(wait):
            wait = EVERY
            try:
                if not self._look():
                    wait = 0.0
            except Exception as error:  # noqa: BLE001  # otherwise the page would show the past as the present
                logs.event("page-crashed", logging.ERROR, error=f"{type(error).__name__}: {error}")

    def _look(self) -> bool:
        """Look at the home once, and read on. Returns whether nothing more is to be read at once."""
        before = (_without_time(self._told), self._heads)
        self._told, self._heads = self._told_now(), self._heads_now()
        self._open_engine()
        read = self._read_on()
        if read or before != (_without_time(self._told), self._heads):
            self._changed += 1
        return not read

    def _told_now(self) -> PeerStatus | PeerError:
        try:
            return ask(self.home, Status(), ANSWERS_WITHIN) or journal_status(self.home)
        except PeerError as error:
            return error

    def _heads_now(self) -> list[RunHead]:
        try:
            if self._journal is None and self.home.journal.exists():
                self._journal = Journal(self.home.journal)
            if self._journal is None:
                return []
            self._known = self._journal.known_runs()
            return self._journal.heads()
        except PeerError:  # the status says so
            return self._heads

    def _open_engine(self) -> None:
        """Open the engine if it can be used; a node that is not running is not started."""
        try:
            name = chosen(self.home, self.ipfs)
            if name == MANAGED:
                self._open_nodes()
            elif not self._engines:
                self._engines[name] = open_engine(name)
            stands = f"{without_credentials(name)}: this home's node does not run; peer start starts it"
            self._why_no_engine = "" if self._engines else stands
        except (EngineError, PeerError) as error:
            self._why_no_engine = str(error)

    def _open_nodes(self) -> None:
        joined: list[StoredFederation | None] = [*FederationStore(self.home).all()]
        for each in joined or [None]:
            folder = str(node_folder(self.home, each))
            if folder not in self._engines and (node := running_node(self.home, each)) is not None:
                self._engines[folder] = node

    def _opened(self, head: RunHead) -> _Reading:
        source = self.blocks()
        beside = beside_here(self.home, head.run)
        try:
            body = parse_record(Block(head.run, source.get(head.run))).body
            assert isinstance(body, Run)
            reader = with_names(self.readers.open(self.home.path, beside.grants), source, beside.grants)
            view = RunView(head.run)
            known: WellSigned = frozenset() if self._journal is None else self._journal.well_signed
            follower = ChainFollower(head.federation, source, reader, well_signed=known, on_step=view.stepped)
            list(follower.follow(head.run))
        except (BlockError, EngineError, PeerError) as error:
            raise NotHere(str(error)) from error
        private = read_private(body, RunPrivate, follower.chain.keys)
        view.app = "" if private is None else private.name
        view.keep = body.plan.text_if_any
        view.closing = "" if body.closing_rule is None else body.closing_rule.in_words()
        view.best = None if private is None or private.best_by is None else BestSoFar(private.best_by)
        manifest = follower.chain.manifest
        view.federation = manifest.title
        reading = _Reading(view, follower)
        with self._lock:
            reading = self._readings.setdefault(head.run, reading)
            for run in sorted(self._readings, key=lambda each: self._readings[each].used)[:-OPEN_AT_ONCE]:
                del self._readings[run]
        return reading

    def _read_on(self) -> bool:
        """Read a part of what is new of the runs that somebody looks at. Returns whether there was anything."""
        with self._lock:
            readings = list(self._readings.values())
        return sum(self._read(reading) for reading in readings) > 0  # a part of each

    def _read(self, reading: _Reading) -> bool:
        view, chain = reading.view, reading.follower.chain
        head = next((head.head for head in self._heads if head.run == view.run), None)
        try:
            if reading.coming is None and reading.back is None:
                if head is None or head in (chain.head, reading.failed_at):
                    return self._confirm(reading)
                reading.back = reading.follower.newer(head)
            if reading.back is not None:
                reading.newer += (met := list(islice(reading.back, RECORDS_AT_ONCE)))
                view.met = len(reading.newer)
                if len(met) == RECORDS_AT_ONCE:
                    return True
                reading.back, reading.coming = None, reading.follower.verify(reading.newer)
            assert reading.coming is not None
            some = list(islice(reading.coming, READS_AT_ONCE))
            for exchange in some:
                view.take(exchange)
            view.met, view.trouble, reading.failed_at = len(reading.newer), "", None
            if len(some) < READS_AT_ONCE:
                reading.coming, view.closed = None, chain.closed
        except LeftBehind:  # whoever looks at it reads it anew
            with self._lock:
                self._readings.pop(view.run, None)
        except (BlockError, EngineError, PeerError) as error:
            view.trouble, reading.failed_at, view.met = str(error), head, 0
            reading.coming, reading.back, reading.newer = None, None, []
        return True

    def _confirm(self, reading: _Reading) -> bool:
        """See who has confirmed a run. Returns whether there was anything new."""
        view, chain = reading.view, reading.follower.chain
        beside = frozenset() if self._journal is None else self._journal.names_beside(view.run)
        if (by := (beside, view.height)) == reading.confirmed_by:
            return False
        view.confirmed, view.recomputed, view.settled = _confirmed(self.home, view, chain)
        view.witnesses = chain.witnesses_needed
        reading.confirmed_by = by
        return True


def _confirmed(home: Home, view: RunView, chain: Chain) -> tuple[dict[str, int], dict[str, Recomputed], int | None]:
    """The height up to which each member has confirmed this very chain, with an ack by the key that it has now; what
    the apps of other servers made of it; and up to where that settles the run, by the voters of now."""
    heights: dict[str, int] = {}
    recomputed: dict[str, Recomputed] = {}
    heads = list(view.heads_of_leaders())
    for ack in sorted(_acks_of(home, view, chain), key=lambda each: each.height):
        name = chain.manifest.name_of(ack.by)
        if isinstance(ack, RecomputedAck):
            told = recomputed.setdefault(name, Recomputed())
            if ack.recomputed.comparison is Comparison.EQUAL:
                told.equal(ack.recomputed.since, ack.height)
            else:
                told.otherwise = ack.height
        heights[name] = ack.height
        heads.append((ack.by, Position(view.run, ack.head, ack.height, ack.term)))
    return dict(sorted(heights.items())), recomputed, settled_by(heads, chain)


def _acks_of(home: Home, view: RunView, chain: Chain) -> Iterator[Ack]:
    """The acks of records of this very chain, by the keys that their authors have now."""
    for block in beside_here(home, view.run).acks:
        record = parse_record(block)
        ack = record.body
        if isinstance(ack, Ack) and view.record_at(ack.height) == ack.head and is_its_authors(record, chain):
            yield ack


def _federation(stored: StoredFederation) -> dict[str, Any]:
    manifest = stored.manifest
    return {
        "id": str(stored.id),
        "name": visible(manifest.name),
        "version": manifest.version,
        "manifest": str(manifest.cid),
        "encrypted": manifest.encrypted,
        "admins": len(manifest.admins),
        "threshold": manifest.threshold,
        "bootstrap": list(map(visible, manifest.addresses)),
        "members": [
            {
                "name": visible(manifest.name_of(member.id)),
                "roles": [*sorted(member.roles), *(["admin"] if member.signing in manifest.admins else [])],
            }
            for member in manifest.members.values()
        ],
    }


def _without_time(told: PeerStatus | PeerError) -> PeerStatus | str:
    return str(told) if isinstance(told, PeerError) else replace(told, at=0.0)


def _bytes_in(folder: Path) -> int:
    total = 0
    for each in folder.rglob("*"):
        with contextlib.suppress(OSError):  # files come and go
            total += each.lstat().st_size
    return total

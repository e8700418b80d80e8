"""Carries out the effects that ask the engine: fetch, pin, publish, connect. Each may wait long, so each runs in a
thread."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from typing import Final

from peer.apps.unpacked_apps import UnpackedApps
from peer.base import logs
from peer.engine.contents import EngineBlocks
from peer.engine.engine_retries import EngineRetries
from peer.engine.interface import Engine, EngineError, EngineUnavailable, PublishRefused, StillComing, Unreachable
from peer.engine.linked_blocks import links_of
from peer.engine.own_blocks import OwnBlocks
from peer.engine.record_fetcher import RecordFetcher
from peer.engine.sound_blocks import SoundBlocks
from peer.home.journal import Journal
from protocol.blocks.bundle import read_bundle
from protocol.blocks.cid import Block, BlockError, ReadBlocks
from protocol.records.bodies import Chained, Federation
from protocol.records.signed_records import parse_record
from protocol.roles.effects import FetchContent, FetchRecord, PinRun, ReadBundle, Report, UnpackApp, What
from protocol.roles.events import Done, Event, Fetched

CONTENT_TIMEOUT: Final = 120.0
"""Seconds to wait for a content. The machine then asks again."""

STILL_COMING: Final = 4
"""How many contents are waited for as long as some of them comes. Each keeps one of the threads that fetch records, too
(`peer.run.effect_threads.FETCHERS`), and whoever sends it may send a block now and then for ever."""


MOST_LINKS: Final = 16
"""Blocks that are looked for before a root block is stored that came with a record. What links more takes its time."""


class EngineEffects:
    """The engine as one run uses it. It raises an `EngineError`, a `PeerError`, a `BlockError` or an `OSError`."""

    def __init__(
        self,
        engine: Engine,
        journal: Journal,
        apps: UnpackedApps,
        retries: EngineRetries,
        report: Callable[[Report], None],
    ) -> None:
        """``report`` may be called in any thread."""
        self._engine = engine
        self._journal = journal
        self._apps = apps
        self._retries = retries
        self._report = report
        self._sound = SoundBlocks(engine)
        self._records, self._claimed = RecordFetcher(OwnBlocks(engine, journal)), RecordFetcher(self._sound)
        self._is_refused = False
        """Whether the engine refuses to publish."""
        self._still_coming = threading.BoundedSemaphore(STILL_COMING)
        self._is_closed = threading.Event()

    def close(self) -> None:
        """Fetch no more."""
        self._is_closed.set()
        self._records.close()
        self._claimed.close()

    def fetch_record(self, effect: FetchRecord) -> Event:
        """Fetch a record, and what it takes to verify it."""
        records = self._claimed if effect.kind is Federation else self._records
        return Fetched(effect.id, self._retries(lambda: records.fetch(effect.cid, effect.kind, effect.trusted)))

    def fetch_content(self, effect: FetchContent, limit: int) -> Event:
        """Fetch a content of at most ``limit`` bytes. It is not given up while some of it comes, unless it is a
        reply's, which keeps no thread from others, or `STILL_COMING` others are waited for so."""
        if effect.root is not None:
            self.place_root(effect.root)
        try:
            return self._fetch_once(effect, limit)
        except StillComing:
            if effect.of_reply or not self._still_coming.acquire(blocking=False):
                raise
        try:
            while True:
                try:
                    return self._fetch_once(effect, limit)
                except StillComing:
                    if self._is_closed.is_set():
                        raise
        finally:
            self._still_coming.release()

    def _fetch_once(self, effect: FetchContent, limit: int) -> Event:
        self._retries(lambda: self._sound.fetch(effect.cid, timeout=CONTENT_TIMEOUT, limit=limit))
        return Done(effect.id)

    def place_root(self, root: Block) -> None:
        """Store the root block of a content that a verified record names, if nothing else of it lacks: then it is not
        fetched. It is a hint, so that this fails is no failure."""
        if self._engine.kind == "local":  # its peers share all blocks
            return
        try:
            links = set(links_of(root))
            if len(links) <= MOST_LINKS and all(map(self._engine.has, links)):
                self._engine.put([root])
        except (EngineError, BlockError, OSError) as error:
            logs.event("root-not-placed", logging.DEBUG, cid=str(root.cid), why=str(error))

    def fetch_app(self, effect: UnpackApp | ReadBundle) -> Event:
        """Fetch an app, or only what says which files it has."""
        if isinstance(effect, ReadBundle):
            blocks = ReadBlocks(EngineBlocks(self._sound))
            read_bundle(effect.bundle.content, blocks, effect.bundle.key)
            return Fetched(effect.id, blocks.read)
        bundle, limit = effect.bundle, effect.limit
        self._retries(lambda: self._apps.fetch(bundle, self._engine, timeout=CONTENT_TIMEOUT, limit=limit))
        return Done(effect.id)

    def pin_run(self, effect: PinRun) -> Event:
        """Have the engine keep a whole run. One of which something was dropped is kept as it is, piece by piece: as a
        whole it would come back. So is one that may lack something, if that is nowhere."""
        body = parse_record(Block(effect.head, self._engine.get(effect.head))).body
        if isinstance(body, Chained) and body.run is not None and self._journal.contents.gone(body.run):
            return Done(effect.id)
        try:
            self._retries(lambda: self._engine.pin(effect.head, recursive=True))
        except Unreachable as error:
            if not effect.may_lack:
                raise
            logs.event("kept-piece-by-piece", logging.WARNING, head=str(effect.head), why=str(error))
        return Done(effect.id)

    def publish(self, topic: str, data: bytes) -> None:
        """Announce once. What is lost is announced again by the role."""
        try:
            self._retries.once(lambda: self._engine.publish(topic, data))
            self._is_refused = False
        except PublishRefused as error:
            if not self._is_refused:
                self._report(Report(What.PUBSUB_REFUSED, {"why": str(error), "fix": error.fix}))
            self._is_refused = True
        except EngineError as error:  # a lost announcement is announced again
            logs.event("publish-failed", _level(error), why=str(error))

    def connect(self, addresses: Sequence[str]) -> None:
        """Connect to other engines, as far as they answer."""
        try:
            self._retries.once(lambda: self._engine.connect(addresses))
        except EngineError as error:
            logs.event("connect-failed", _level(error), why=str(error))

    def hears(self) -> bool:
        """Whether the engine answers."""
        try:
            self._retries.once(self._engine.check)
        except EngineError as error:
            logs.event("engine-silent", logging.DEBUG, why=str(error))
            return False
        return True


def _level(error: EngineError) -> int:
    """The level for a failure that is tried again. That the engine is away is told once, elsewhere."""
    return logging.DEBUG if isinstance(error, EngineUnavailable) else logging.WARNING

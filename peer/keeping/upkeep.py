"""Keeps a home within its budget while its runs go on: it drops what may go, and else says that there is no room."""

from __future__ import annotations

import contextlib
import logging
import shutil
import threading
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from peer.base import logs
from peer.base.errors import PeerError
from peer.engine.interface import Engine, EngineError
from peer.engine.own_blocks import OwnBlocks
from peer.home.federations import FederationStore
from peer.home.home import Home
from peer.home.journal import Journal, RunHead
from peer.keeping.applying import disk_of
from peer.keeping.best_models import BestModels
from peer.keeping.chosen import chosen_keeping
from peer.keeping.dropping import Dropping
from protocol.blocks.cid import CID, BlockError
from protocol.federation.manifest import PUBLIC
from protocol.federation.readers import Reader
from protocol.keeping.budget import LEFT_FREE, AtMost, Disk, LeaveFree, excess, in_words, spare, why_no_room
from protocol.keeping.droppable import Droppable
from protocol.keeping.home_plan import Keeping
from protocol.records.bodies import Role, Run
from protocol.records.signed_records import read_record

REMEMBERED: Final = 4
"""Exchanges whose growth tells how much the next one may take."""

AT_ONCE: Final = 16
"""Contents that may go before they are dropped, if room is not needed: an engine looks at all its pins for it."""

_TROUBLE: Final = (EngineError, BlockError, PeerError, OSError)

NEAR: Final = 8 * LEFT_FREE
"""Bytes left on the disk from which on a home without a budget is watched closely."""


@dataclass(slots=True)
class _Growth:
    """How a run grows."""

    exchange: int = 0
    """The number of the newest exchange."""
    now: int = 0
    """Bytes since it began."""
    before: deque[int] = field(default_factory=lambda: deque(maxlen=REMEMBERED))

    def add(self, exchange: int, size: int) -> None:
        """It has grown."""
        if exchange > self.exchange:
            if self.exchange:
                self.before.append(self.now)
            self.exchange, self.now = exchange, 0
        self.now += size

    @property
    def most(self) -> int:
        """Bytes by which the next exchange may grow it."""
        return max(self.now, *self.before, 0)


class Upkeep:
    """The upkeep of one home. Safe from several threads."""

    def __init__(
        self, home: Home, engine: Engine, journal: Journal, reader: Callable[[RunHead], Reader] = lambda _: PUBLIC
    ) -> None:
        """``reader`` tells with whose keys a run is read, to know its best model."""
        self._home = home
        self._engine = engine
        self._journal = journal
        self._dropping = Dropping(engine, journal, FederationStore(home), BestModels(engine, journal, reader))
        self._lock = threading.Lock()
        self._growth: dict[CID, _Growth] = {}
        self._plans: dict[CID, str] = {}
        self._said: Keeping | None = None
        """What the owner had said when all runs were looked at."""
        self._no_room = ""
        self._told = ""
        """The trouble that was told last."""
        self._knows_all = False
        """Whether the stock of all runs is taken: what goes of one, another may need."""

    def wrote(self, run: CID) -> str:
        """A head of the run was written. Returns why there is no room for another exchange; empty if there is."""
        return self._done(run)

    def left(self, runs: Iterable[CID]) -> None:
        """Nobody in this process takes part in these runs any more: no room is held for them."""
        with self._lock:
            for run in runs:
                self._growth.pop(run, None)

    def look(self) -> str:
        """As `wrote`, from time to time: the owner may have said something else, or made room."""
        return self._done(None)

    def _done(self, run: CID | None) -> str:
        with self._lock:
            try:
                self._no_room = self._keep_up(run)
            except _TROUBLE as error:  # the run itself finds what is wrong with the engine or the disk, and says so
                self._tell(error)
            return self._no_room

    def _drop(self, head: RunHead, going: Sequence[Droppable], most: int | None = None) -> int:
        """Drop contents of a run, as far as the engine lets us. Returns how many bytes are gone."""
        try:
            freed = self._dropping.drop(head, [each.content for each in going], most)
        except _TROUBLE as error:  # whether there is room is to be told all the same
            self._tell(error)
            return 0
        if freed:
            logs.event("dropped", run=str(head.run), freed=in_words(freed))
        return freed

    def _tell(self, error: Exception) -> None:
        if str(error) != self._told:
            self._told = str(error)
            logs.event("upkeep-failed", logging.WARNING, why=self._told, fix=getattr(error, "fix", ""))

    def _keep_up(self, run: CID | None) -> str:
        keeping = chosen_keeping(self._journal)
        if run is not None:
            head = self._journal.head_of(run)
            if head is not None and self._is_watched(keeping, head):
                self._take_stock(head)
                self._drop_by_plan(head, keeping)
        changed = keeping != self._said
        if changed:
            self._said = keeping
            self._drop_everywhere(keeping)
        if run is None and not changed and not self._no_room:
            return ""
        return self._make_room(keeping)

    def _is_watched(self, keeping: Keeping, head: RunHead) -> bool:
        """Whether it matters what the run has on disk."""
        if self._knows_all or keeping.lets_go or isinstance(keeping.budget, AtMost):
            return True
        if self._own_plan(head.run):
            return True
        return isinstance(keeping.budget, LeaveFree) and shutil.disk_usage(self._home.path).free < NEAR

    def _own_plan(self, run: CID) -> str:
        """The plan in the run's own record; empty if it keeps everything."""
        if run not in self._plans:
            body = read_record(run, OwnBlocks(self._engine, self._journal)).body
            self._plans[run] = body.plan.text_if_any if isinstance(body, Run) else ""
        return self._plans[run]

    def _know_all(self) -> None:
        stock = self._dropping.stock
        if not self._knows_all:
            stock.take_all()
            self._knows_all = True
        for head in self._journal.heads():
            if head.run in self._growth and not stock.is_taken(head):
                with contextlib.suppress(EngineError, BlockError):  # then nothing is dropped, which says why
                    self._take_stock(head)

    def _take_stock(self, head: RunHead) -> None:
        known = head.run in self._growth
        grown = self._dropping.stock.take(head.run, head.head, everywhere=head.role is Role.KEEPER)  # they come later
        newest = self._journal.contents.newest_exchange(head.run)
        growth = self._growth.setdefault(head.run, _Growth(newest))
        if head.closed:
            del self._growth[head.run]
        elif known:
            growth.add(newest, grown)

    def _drop_by_plan(self, head: RunHead, keeping: Keeping) -> None:
        going = self._dropping.may_go(head, keeping, pressed=False)
        if going and (head.closed or len(going) >= AT_ONCE):
            self._know_all()
            going = self._dropping.may_go(head, keeping, pressed=False)
            self._drop(head, going)

    def _drop_everywhere(self, keeping: Keeping) -> None:
        self._dropping.finish()
        if keeping.lets_go or isinstance(keeping.budget, AtMost):
            self._know_all()
        for head in self._journal.heads() if keeping.lets_go else ():
            if going := self._dropping.may_go(head, keeping, pressed=False):
                self._drop(head, going)

    def _make_room(self, keeping: Keeping) -> str:
        over = excess(keeping.budget, self._disk())
        if over:
            self._know_all()
            over += spare(keeping.budget)
            for head in sorted(self._journal.heads(), key=lambda head: head.updated):
                if over <= 0:
                    break
                over -= self._drop(head, self._dropping.may_go(head, keeping, pressed=True), over)
        return why_no_room(keeping.budget, self._disk())

    def _disk(self) -> Disk:
        growth = sum(each.most for each in self._growth.values())
        return disk_of(self._home, self._journal.contents.used_in_all(), growth)

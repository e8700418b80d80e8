"""Dropping contents: the journal notes what goes before it goes, so that nothing is taken for missing."""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from crypto.dsse import BadSignature
from peer.engine.interface import Engine
from peer.home.federations import FederationStore
from peer.home.journal import Journal, RunHead
from peer.home.kept_contents import OF_THE_RUN, ContentState
from peer.keeping.best_models import Best, BestModels
from peer.keeping.stock import Stock
from protocol.blocks.cid import CID, Block
from protocol.keeping.confirmed import audited_height
from protocol.keeping.droppable import Droppable, RunSoFar
from protocol.keeping.home_plan import Keeping, may_go, plans_now
from protocol.keeping.plan import KeepPlan, LastAndBest, PlanError, parse_plan
from protocol.records.bodies import Ack, Chained, Role
from protocol.records.signed_records import Record, parse_record


def _is_signed(record: Record, auditors: Mapping[bytes, bytes]) -> bool:
    """Whether an auditor signed an ack in its own name. ``auditors`` are member ids by key. A file that was taken in
    may bring an ack that anybody made up."""
    (key,) = record.signers
    if auditors.get(key) != record.body.by:
        return False
    try:
        record.check_signatures()
    except BadSignature:
        return False
    return True


@dataclass(frozen=True, slots=True)
class Dropping:
    """Drops contents of the runs of a home. Stock has to be taken before."""

    engine: Engine
    journal: Journal
    federations: FederationStore
    best: BestModels

    @property
    def stock(self) -> Stock:
        """The stock of the same home."""
        return Stock(self.engine, self.journal)

    def may_go(self, head: RunHead, keeping: Keeping, *, pressed: bool) -> list[Droppable]:
        """What may go of a run, and is here, the oldest first. ``pressed`` says that room is needed."""
        contents, run = self.journal.contents, head.run
        of_itself = self._plan_of(run)
        if not head.closed and head.role is not Role.CLIENT and not (of_itself and of_itself.drop_updates):
            return []  # all of it is needed, as `protocol.keeping.droppable.stays` says
        plans = plans_now(head.role, keeping, of_itself, pressed=pressed)
        exchanges = contents.exchanges(run)
        best = self.best.of(head) if any(isinstance(plan.models, LastAndBest) for plan in plans) else Best()
        so_far = RunSoFar(
            len(exchanges),
            head.closed,
            self._audited(head),
            best.exchange,
            is_best_known=best.is_known,
            holder=head.role,
        )
        of_run = frozenset(link.content for link in contents.links(run) if link.exchange == OF_THE_RUN)
        needed = of_run | contents.needed_by_others(run)
        here = contents.in_state(run, ContentState.HERE)
        lost = contents.lost(run) if self.stock.is_taken(head) else []
        found = may_go(exchanges, so_far, plans, needed, lost)
        return [each for each in found if each.content in here]

    def sizes(self, contents: Sequence[CID]) -> int:
        """How many bytes go, if all of these contents do."""
        holders = Counter(block for content in contents for block in set(self.stock.chunks_of(content)))
        return self.journal.contents.goes_with(holders, holders)

    def drop(self, head: RunHead, contents: Sequence[CID], most: int | None = None) -> int:
        """Drop contents of a run in this order, as long as fewer than ``most`` bytes are gone. Returns how many are.

        Raises:
            EngineError: if the engine cannot drop them, or another run cannot be read, which may need them. Those that
                were to go are tried again by `finish`.
        """
        freed = 0
        going: list[CID] = []
        self.engine.drop([])  # raises if that is not possible here at all
        self.stock.know_others(head.run)
        needed = self.journal.contents.needed_by_others(head.run)
        for content in contents:
            if most is not None and freed >= most:
                break
            if content in needed:  # by a run that came since it was decided
                continue
            freed += self.journal.contents.let_go(content, self.stock.chunks_of(content), time.time())
            going.append(content)
        if going:
            if head.role is Role.KEEPER:  # nothing of it is looked for again
                self.journal.finish(head.run)
            self._pin_apart(head)
            self.finish()
        return freed

    def finish(self) -> None:
        """Drop what was to go. The first block of each stays: it is small, and says what a client measured."""
        if going := self.journal.contents.going():
            self.engine.drop(going, keep=[cid for cid in going if self.engine.has(cid)])
            self.journal.contents.dropped(going, time.time())

    def _pin_apart(self, head: RunHead) -> None:
        """Pin what stays of a run piece by piece, if it was pinned as a whole when it was closed or imported."""
        if not self.engine.keeps(head.head):
            return
        links = dict.fromkeys(link.content for link in self.journal.contents.links(head.run))
        for content in links.keys() - self.journal.contents.gone(head.run):
            if self.engine.has(content):  # also what came too late to be counted
                self.engine.pin(content, recursive=True)
        self.engine.put([], pin=self.stock.record_blocks(head.run, head.head)[1:])
        self.engine.unpin(head.head)
        self.engine.put([], pin=[head.head])

    def _plan_of(self, run: CID) -> KeepPlan | None:
        stock = self.journal.contents.stock_of(run)
        with contextlib.suppress(PlanError):
            return parse_plan(stock.plan) if stock is not None and stock.plan else None
        return None

    def _audited(self, head: RunHead) -> int | None:
        """Up to which height an auditor has confirmed this history of the run."""
        stored = self.federations.get(head.federation)
        if stored is None:
            return None
        members = stored.manifest.members.values()
        auditors = {member.signing: member.id for member in members if set(member.roles) == {Role.AUDITOR}}
        beside = (parse_record(block) for block in self.journal.beside(head.run)) if auditors else ()
        acks = [each.body for each in beside if isinstance(each.body, Ack) and _is_signed(each, auditors)]
        if not acks:
            return None
        heights: dict[bytes, int] = {}
        for height, cid in self._back(head.head, min(ack.height for ack in acks)):
            for ack in acks:
                if (ack.head, ack.height) == (cid, height):
                    heights[ack.by] = max(height, heights.get(ack.by, 0))
        return audited_height(heights, stored.manifest)

    def _back(self, head: CID, lowest: int) -> list[tuple[int, CID]]:
        """The records of a chain down to a height."""
        found: list[tuple[int, CID]] = []
        cid: CID | None = head
        while cid is not None:
            body = parse_record(Block(cid, self.engine.get(cid, timeout=1.0))).body
            assert isinstance(body, Chained)
            if body.height < lowest:
                break
            found.append((body.height, cid))
            cid = body.prev
        return found

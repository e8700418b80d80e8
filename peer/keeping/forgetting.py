"""Forgetting a run: everything of it goes that no other run of the home needs."""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass

from peer.apps.app_log import before
from peer.base.errors import PeerError
from peer.engine.interface import EngineError
from peer.home.home import Home
from peer.home.journal import RunHead
from peer.home.kept_contents import ContentState
from peer.keeping.dropping import Dropping
from protocol.blocks.cid import CID, BlockError, MemoryBlocks
from protocol.records.bodies import Ack
from protocol.records.signed_records import parse_record, typed_items
from protocol.run_names import SHOWN


@dataclass(frozen=True, slots=True)
class Forgetting:
    """What is to be forgotten."""

    head: RunHead
    contents: tuple[CID, ...]
    states: tuple[CID, ...]
    """Those of its ClientApp, if it is closed: an open run may come again."""
    blocks: tuple[CID, ...]
    """Records, and what belongs to them."""
    proofs: int
    """Proofs of equivocation, which stay."""
    confirmed: tuple[str, ...]
    """Other members that have confirmed that they hold the run up to its head."""
    unread: str
    """Why it is not known what another run needs; empty if that is known."""


def to_forget(head: RunHead, dropping: Dropping) -> Forgetting:
    """What goes if a run is forgotten.

    Raises:
        EngineError: if the engine cannot be used.
    """
    journal, stock = dropping.journal, dropping.stock
    stock.take_all()  # others may need what it links; of a run that is not whole goes what is here
    unread = ""
    try:
        stock.know_others(head.run)
    except EngineError as error:
        unread = str(error)
    contents = journal.contents.in_state(head.run, *ContentState) - journal.contents.needed_by_others(head.run)
    beside = journal.beside(head.run)
    blocks = dict.fromkeys([*stock.record_blocks(head.run, head.head), *(block.cid for block in beside)])
    acks = {block.cid: body for block in beside if isinstance(body := parse_record(block).body, Ack)}
    for ack in acks.values():
        with contextlib.suppress(BlockError):
            blocks |= dict.fromkeys(typed_items(ack.replies, CID, MemoryBlocks({})))
    for kept in _needed_besides(head.run, dropping):
        blocks.pop(kept, None)
    stored = dropping.federations.get(head.federation)
    whole = {ack.by for cid, ack in acks.items() if ack.head == head.head and journal.own(cid) is None}
    names = () if stored is None else tuple(sorted(stored.manifest.called(member) for member in whole))
    states = tuple(journal.states_of(head.run)) if head.closed else ()
    return Forgetting(head, tuple(contents), states, tuple(blocks), len(journal.proofs(head.run)), names, unread)


def forget(home: Home, what: Forgetting, dropping: Dropping) -> None:
    """Forget a run.

    Raises:
        EngineError: if the engine cannot drop its blocks. Then it is still there, or part of it: forget it again.
    """
    journal, run = dropping.journal, what.head.run
    dropping.engine.drop([])  # raises if that is not possible here at all
    for content in what.contents:
        journal.contents.let_go(content, dropping.stock.blocks_of(content), time.time())
    dropping.engine.drop((*what.contents, *what.states), what.blocks)
    journal.contents.forget(run)
    journal.forget_run(run, what.blocks if what.head.closed else ())
    for log in (home.run_log(run), before(home.run_log(run))):
        log.unlink(missing_ok=True)


def refuse_if_running(home: Home, head: RunHead, running: bool) -> None:
    """Raises:
    PeerError: if a peer of this home leads or follows the run now.
    """
    if running:
        raise PeerError(
            f"the running peer of this home takes part in the run {head.run}",
            fix=f"end it first: peer stop {str(head.run)[:SHOWN]} at its server, or stop the peer",
        )
    if not head.closed and home.is_locked:
        raise PeerError(
            f"the run {head.run} is open, and a peer runs with this home, which may go on with it",
            fix="stop the peer first, or close the run: peer stop",
        )


def _needed_besides(run: CID, dropping: Dropping) -> set[CID]:
    """The blocks of records that stay: those of other runs, and of proofs."""
    needed = {block.cid for proof in dropping.journal.proofs() for block in proof}
    for other in dropping.journal.heads():
        if other.run != run:
            needed.update(dropping.stock.record_blocks(other.run, other.head))
            needed.update(block.cid for block in dropping.journal.beside(other.run))
    return needed

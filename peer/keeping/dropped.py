"""What this home has dropped of a run by plan: it is "not kept by policy", and not "missing"."""

from __future__ import annotations

from peer.home.home import Home
from peer.home.journal import Journal
from protocol.blocks.cid import CID


def dropped_here(home: Home, named: CID) -> frozenset[CID]:
    """The contents of a run, named by its CID or its head, that this home has dropped; none if it knows no such run.
    One that somebody brought back may be here all the same: look first."""
    if not home.journal.exists():
        return frozenset()
    with Journal(home.journal) as journal:
        known = journal.head_of(named) or journal.run_of(named)
        return frozenset() if known is None else journal.contents.gone(known.run)

"""What this home has dropped of a run by plan: it is "not kept by policy", and not "missing"."""

from __future__ import annotations

from peer.home.home import Home
from peer.home.journal import Journal
from protocol.blocks.cid import CID


def dropped_here(home: Home, run: CID) -> frozenset[CID]:
    """The contents of a run that this home has dropped; none if it knows nothing of the run. One that a record links
    again, or that somebody brought back, may be here all the same: look first."""
    if not home.journal.exists():
        return frozenset()
    with Journal(home.journal) as journal:
        return journal.contents.gone(run)

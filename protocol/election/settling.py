"""Which records are settled: no takeover can lose them.

A takeover needs the votes of a majority, and nobody votes for a head behind its own. So a record is settled once a
majority has confirmed a head at or above it, if that head is of the leader's own term (Raft, section 5.4.2 and figure
8): a majority for a head of an older term can still be overruled by a voter with a shorter chain of a newer term.

The chain's rules know one exception (`protocol.chain.takeover_dispute`): a dispatch that most servers contradict, and
all after it.
"""

from __future__ import annotations

from collections.abc import Mapping

from protocol.election.electorate import Electorate
from protocol.wire.announcements import Position


def settled_height(confirmed: Mapping[bytes, Position], electorate: Electorate, term: int) -> int | None:
    """The greatest height that is settled in ``term``, the leader's own; None if none of its records is.

    ``confirmed`` is the newest head that each member has confirmed, of one and the same chain; the leader's own is one
    of them.
    """
    heights = (at.height for by, at in confirmed.items() if by in electorate.voters and at.term == term)
    ranked = sorted(heights, reverse=True)
    return ranked[electorate.majority - 1] if len(ranked) >= electorate.majority else None

"""Which records are settled: no takeover can lose them.

A takeover needs the votes of a majority, and nobody votes for a head behind its own. So a record is settled once a
majority has confirmed a head at or above it, if that head is of the leader's own term (Raft, section 5.4.2 and figure
8): a majority for a head of an older term can still be overruled by a voter with a shorter chain of a newer term.
After a roster that changes the voters, it takes a majority of those before it too, as it does for a takeover.

The chain's rules know one exception (`protocol.chain.takeover_dispute`): a dispatch that most servers contradict, and
all after it.
"""

from __future__ import annotations

from collections.abc import Mapping

from protocol.federation.voters import majority_of
from protocol.votes.electorate import Electorate
from protocol.wire.announcements import Position


def settled_height(confirmed: Mapping[bytes, Position], electorate: Electorate, term: int) -> int | None:
    """The greatest height that is settled in ``term``, the leader's own; None if none of its records is.

    ``confirmed`` is the newest head that each member has confirmed, of one and the same chain; the leader's own is one
    of them.
    """
    of_term = {by: at.height for by, at in confirmed.items() if at.term == term}
    heights = [_confirmed_by(part, of_term) for part in electorate.parts]
    return None if None in heights else min(height for height in heights if height is not None)


def _confirmed_by(voters: frozenset[bytes], heights: Mapping[bytes, int]) -> int | None:
    """The height that a majority of ``voters`` has confirmed; None if none has confirmed any."""
    ranked = sorted((height for by, height in heights.items() if by in voters), reverse=True)
    return ranked[majority_of(voters) - 1] if len(ranked) >= majority_of(voters) else None

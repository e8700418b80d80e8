"""What others say of terms to a member whose home may have forgotten a vote: it was put back, or copied.

Whom it voted for may still win with that vote. So it waits until no candidacy of before its start can win any more
(`protocol.election.candidacy.LIFE`), and asks only then. If a forgotten vote had won, a majority had promised its term
by then, and each majority that reports has one of them. If it had not won, it never will. So whoever votes only above
what a majority reports never votes twice in a term that matters. Copies of a home that run at once are told from each
other by other means (`protocol.roles.copied_homes`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from protocol.election.candidacy import LIFE
from protocol.election.electorate import Electorate
from protocol.election.voter import rank
from protocol.wire.announcements import Position

ASK_AFTER: Final = 2 * LIFE
"""Seconds after its start until it asks. Twice the life of a candidacy, because clocks need not run alike."""


@dataclass(frozen=True, slots=True)
class Reports:
    """The terms that were reported since `ASK_AFTER`."""

    highest: frozenset[tuple[bytes, int]] = frozenset()
    """The highest term that each member has promised or seen."""
    newest: tuple[int, int] = (0, -1)
    """The rank of the newest head that one of them has verified. A home that has forgotten a vote may have forgotten
    records too, and have confirmed them: until it has that head, it does not vote, or what it helped to settle is lost.
    """

    def heard(self, member: bytes, term: int, position: Position | None = None) -> Reports:
        """A member reports that it has promised or seen nothing above ``term``, and verified nothing above
        ``position``."""
        kept = dict(self.highest)
        kept[member] = max(term, kept.get(member, 0))
        newest = self.newest if position is None else max(self.newest, rank(position))
        return Reports(frozenset(kept.items()), newest)

    def floor(self, member: bytes, electorate: Electorate) -> int | None:
        """The term that ``member`` has to be above; None if fewer than a majority of the voters have reported, itself
        not counted: it knows nothing."""
        reported = {by: term for by, term in self.highest if by in electorate.all and by != member}
        return max(reported.values()) if electorate.is_majority(frozenset(reported)) else None

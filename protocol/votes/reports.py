"""What others say of terms to a member whose home may have forgotten a vote: it was put back, or copied.

Whom it voted for may still win with that vote. So it waits until no candidacy of before its start can win any more
(`protocol.votes.candidacy.LIFE`), and asks only then. If a forgotten vote had won, a majority had promised its term
by then, and each majority that reports has one of them. If it had not won, it never will. So whoever votes only above
what a majority reports never votes twice in a term that matters. Copies of a home that run at once are told from each
other by other means (`protocol.roles.copied_homes`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from protocol.votes.candidacy import LIFE
from protocol.votes.electorate import Electorate
from protocol.votes.voter import rank
from protocol.wire.announcements import Position

NO_HEAD: Final = (0, -1)
"""The rank of who has verified nothing of a run."""

ASK_AFTER: Final = 2 * LIFE
"""Seconds after its start until it asks. Twice the life of a candidacy, because clocks need not run alike."""


@dataclass(frozen=True, slots=True)
class Reports:
    """What was reported since `ASK_AFTER`.

    What any majority has reported is enough. So the one counts that reports the least: otherwise a member that reports
    what it never promised, or a head that nobody has, would keep such a home from voting for ever.
    """

    highest: frozenset[tuple[bytes, int]] = frozenset()
    """The highest term that each member has promised or seen."""
    newest: frozenset[tuple[bytes, tuple[int, int]]] = frozenset()
    """The rank of the newest head that each has verified. A home that has forgotten a vote may have forgotten records
    too, and have confirmed them: until it has that head, it does not vote, or what it helped to settle is lost."""

    def heard(self, member: bytes, term: int, position: Position | None = None) -> Reports:
        """A member reports that it has promised or seen nothing above ``term``, and verified nothing above
        ``position``."""
        highest, newest = dict(self.highest), dict(self.newest)
        highest[member] = max(term, highest.get(member, 0))
        newest[member] = max(NO_HEAD if position is None else rank(position), newest.get(member, NO_HEAD))
        return Reports(frozenset(highest.items()), frozenset(newest.items()))

    def floor(self, member: bytes, electorate: Electorate) -> int | None:
        """The term that ``member`` has to be above; None if fewer than a majority of the voters have reported, itself
        not counted: it knows nothing."""
        return electorate.least_of_a_majority({by: term for by, term in self.highest if by != member})

    def head(self, member: bytes, electorate: Electorate) -> tuple[int, int] | None:
        """The rank that the newest record of ``member`` must have; None as for `floor`."""
        return electorate.least_of_a_majority({by: head for by, head in self.newest if by != member})

"""Whom a voter votes for. Each rule has its reason here; the first that a candidate breaks is the answer.

A voter votes for no head that it has not verified itself. Raft's voters believe a candidate's word of its log; here a
candidate that lies about its term or height could have the votes for an older head, and settled records would be lost.
So a voter that is behind catches up first, from the candidate, and the candidate asks again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from protocol.blocks.cid import CID
from protocol.votes.electorate import Electorate
from protocol.votes.promise import Promise
from protocol.wire.announcements import Candidature, Position, Refusal

TERMS_A_SECOND: Final = 1_000
"""A voter votes in no term above so many for each second since 1970, by its own clock. Without a bound, one member
could bring a run to the last term there is, after which nobody is ever elected. This one rises with time, and all that
have the time right compute it alike: where one voter was led, the others follow, however far above what they know."""

LEAP: Final = 1_024
"""How far above the highest term that it knows a voter goes in any case, be its clock wrong. Each election that fails
after a majority was willing takes one term, so an honest candidate is a few above."""

LAST_TERM: Final = 2**63 - 1
"""The last that a record can name."""


def rank(position: Position) -> tuple[int, int]:
    """The order of heads: Raft's, by the term of the newest record and then by height."""
    return position.term, position.height


@dataclass(frozen=True, slots=True)
class Voter:
    """What one member knows of one run as it is asked for its vote."""

    member: bytes
    newest: Position
    """The newest head that it has verified."""
    electorate: Electorate
    """After that head."""
    promise: Promise | None = None
    leader: bytes = b""
    """Who leads the run, by its newest record."""
    hears_leader: bool = False
    """Whether the leader has spoken so lately that it is taken to be alive, or is the member itself. One that most
    servers contradict is not heard, whatever it says."""
    waits_for: bytes = b""
    """A candidate that has its vote of a short time ago, and does not lead by that yet: it needs no other."""
    is_closed: bool = False
    is_copied: bool = False
    """Whether another process may have its key: that one may have voted."""
    against: CID | None = None
    """The dispatch after ``newest`` that it has laid down, because most servers contradict it."""
    seen: int = 0
    """The highest term of the records that it has laid down."""
    distrusted: frozenset[bytes] = frozenset()
    """Members that have signed two records at one place."""
    now: float = 0.0
    """Seconds since 1970, by its clock."""
    floor: int | None = 0
    """The term that it has to be above because its home may have forgotten a vote (`Reports`); None: that is not known
    yet, or it has to verify again what it had verified. 0 for a home that has forgotten nothing."""

    @property
    def highest(self) -> int:
        """The highest term that it has promised or seen."""
        return max(self.newest.term, self.seen, 0 if self.promise is None else self.promise.term)

    @property
    def most(self) -> int:
        """The highest term in which it votes."""
        return min(max(self.highest + LEAP, int(TERMS_A_SECOND * self.now)), LAST_TERM)

    def has_voted_so(self, candidate: bytes, asked: Candidature) -> bool:
        """Whether its newest vote is just what is asked for: then it is given again, whatever has happened since. It
        was promised, and can do no more than it did when it was given."""
        kept = self.promise
        return kept is not None and (kept.candidate, kept.term, kept.head) == (
            candidate,
            asked.term,
            asked.position.head,
        )

    def refuses(self, candidate: bytes, asked: Candidature) -> Refusal | None:
        """Why it does not vote for ``candidate``; None if it does.

        The same answers a canvass. A term is promised only if somebody could win with it, so a candidate that cannot
        be heard by a majority makes nobody forget a leader (dissertation, 9.6).
        """
        if self.member not in self.electorate.all:
            return Refusal.NO_VOTE
        return self.why_not(candidate, asked)

    def why_not(self, candidate: bytes, asked: Candidature) -> Refusal | None:
        """As `refuses`, of a member that may have no vote and stands itself."""
        may_stand = candidate in self.electorate.candidates and candidate not in self.distrusted
        rules = (
            (Refusal.NO_CANDIDATE, not may_stand),
            (Refusal.COPIED, self.is_copied),
            (Refusal.CLOSED, self.is_closed),
            # 4.2.3: who hears a leader helps nobody to depose it; the leader itself may need a higher term
            (Refusal.LEADER_HEARD, candidate == self.waits_for or (self.hears_leader and candidate != self.leader)),
            (Refusal.OLD_TERM, asked.term <= self.highest),  # 5.2: one vote a term, and none in a term that is over
            (Refusal.LEAP, asked.term > self.most),
            (Refusal.FORGOTTEN, self.floor is None or asked.term <= self.floor),
        )
        return next((refusal for refusal, holds in rules if holds), None) or self._head_refused(asked)

    def _head_refused(self, asked: Candidature) -> Refusal | None:
        """5.4.1: a head behind our own may lack what is settled."""
        ours, theirs = self.newest, asked.position
        if rank(theirs) < rank(ours):
            return Refusal.BEHIND
        if rank(theirs) > rank(ours):
            return Refusal.AHEAD
        if theirs.head != ours.head:
            return Refusal.FORKED  # its leader signed both: no majority may have one, and that is for people to see
        if asked.against != self.against:
            return Refusal.DISPUTED  # a takeover shows why it leaves out what may be settled, or it leaves out nothing
        return None if asked.manifest == self.electorate.manifest else Refusal.OTHER_MANIFEST

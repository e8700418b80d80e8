"""A candidate's way to the lead: it canvasses, then votes for itself and asks for votes, then has won or tries again.

Only after a majority is willing is a term used up (pre-vote, dissertation 9.6): a candidate that a majority would not
vote for disturbs nobody, however often it asks.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Final

from protocol.blocks.cid import CID
from protocol.votes.electorate import Electorate
from protocol.votes.voter import LEAP, Voter, rank
from protocol.wire.announcements import Candidature, Canvass, Canvassed, Position, Refusal, VoteAsked

MAX_RAISE: Final = LEAP // 8
"""How far above what it has promised or seen a report may raise a candidate's term, unless it leaps. It is well below
`LEAP`, so that voters that have not heard the report take the term, be their clocks wrong: one that reports what it
never promised makes a gap in the terms, and no more."""

LIFE: Final = 10.0
"""Seconds after which a candidacy counts no vote any more, by the candidate's clock. The next is in a higher term."""


@dataclass(frozen=True, slots=True)
class Candidacy:
    """One attempt, in one term, with one head."""

    member: bytes
    position: Position
    electorate: Electorate
    term: int
    known: int
    """What its term is above whatever single voters report."""
    ceiling: int
    """No report above it is believed (`MAX_RAISE`, or `Voter.most` if it leaps)."""
    highest: int
    """The highest term that is known, by our own promise and by what others report."""
    against: CID | None = None
    """The dispatch that it leaves out, with all after it, because most servers contradict that (`Voter.against`)."""
    asks: bool = False
    """Whether it asks for votes; before, it canvasses."""
    willing: frozenset[bytes] = frozenset()
    votes: frozenset[tuple[bytes, CID]] = frozenset()
    """The voters and their votes, each of them verified."""
    refusals: frozenset[tuple[bytes, Refusal]] = frozenset()
    """The newest of each voter that is not willing, or does not vote."""
    reports: frozenset[tuple[bytes, int]] = frozenset()
    """The highest term that each voter has promised or seen, as it says."""
    ahead: Position | None = None
    """The newest head that a voter names as its own and that we lack: without it we cannot win."""

    # -- what it says -----------------------------------------------------------------------------------------------

    @property
    def question(self) -> Canvass | VoteAsked:
        """What the candidate announces now."""
        kind = VoteAsked if self.asks else Canvass
        return kind(self.position, self.electorate.manifest, self.term, self.against)

    # -- what it hears ----------------------------------------------------------------------------------------------

    def answered(self, by: bytes, told: Canvassed) -> Candidacy:
        """A voter has answered; whatever is not about this term counts only for the terms that it reports."""
        if by not in self.electorate.all or told.to != self.member or told.run != self.position.run:
            return self
        heard = self._reported(told.highest)
        if told.term == self.term or told.highest > self.term:
            reports = {by: 0, **dict(self.reports)}
            reports[by] = max(told.highest, reports[by])
            heard = replace(heard, reports=frozenset(reports.items()))
        if told.term != self.term:
            return heard
        refusals = frozenset(each for each in self.refusals if each[0] != by)
        if told.refusal is None:
            return replace(heard, refusals=refusals, willing=self.willing | {by})
        known = (self.position, *filter(None, (self.ahead, told.position)))
        newest = max((each for each in known if each.run == self.position.run), key=rank)
        ahead = newest if rank(newest) > rank(self.position) else None
        refusals |= {(by, told.refusal)}
        return replace(heard, refusals=refusals, willing=self.willing - {by}, ahead=ahead)

    def _reported(self, highest: int) -> Candidacy:
        return replace(self, highest=highest) if self.highest < highest <= self.ceiling else self

    def voted(self, by: bytes, vote: CID) -> Candidacy:
        """A voter's vote is here and verified: it is for this term, head and manifest. The first of each counts."""
        if by not in self.electorate.all or any(voter == by for voter, _ in self.votes):
            return self
        return replace(self, votes=self.votes | {(by, vote)})

    # -- what follows -----------------------------------------------------------------------------------------------

    @property
    def may_ask(self) -> bool:
        """Whether a majority is willing, itself among them: then it votes for itself, and asks."""
        return not self.asks and self.electorate.is_majority(self.willing | {self.member})

    def asking(self) -> Candidacy:
        """It asks for votes from now on."""
        return replace(self, asks=True)

    @property
    def has_won(self) -> bool:
        """Whether a strict majority has voted for it."""
        return self.asks and self.electorate.is_majority(frozenset(by for by, _ in self.votes))

    @property
    def won_with(self) -> tuple[CID, ...]:
        """The votes as a takeover names them: in rising order of voter."""
        return tuple(vote for _, vote in sorted(self.votes, key=lambda each: each[0]))

    @property
    def is_beaten(self) -> bool:
        """Whether its term is over. As long as it canvasses: a voter knows that term, or a higher one. Once it asks for
        votes: so many say that of a higher one that the others are no majority. The word of one would do otherwise, and
        a voter that lies could end each candidacy."""
        if self.asks:
            beyond = frozenset(by for by, highest in self.reports if highest > self.term)
            return not self.electorate.is_majority(self.electorate.all - beyond)
        return self.highest >= self.term

    @property
    def left_behind(self) -> int:
        """What the next attempt is to be above if this one came to nothing: no majority of those that have answered
        votes at or below it. That is more than the word of one, so it is believed, however high it is."""
        known = {**dict(self.reports), self.member: self.known}
        return self.electorate.least_of_a_majority(known) or 0

    @property
    def claims(self) -> frozenset[int]:
        """The terms above its own that single voters say they have promised or seen."""
        return frozenset(highest for _, highest in self.reports if highest > self.term)

    @property
    def leaps(self) -> bool:
        """Whether its term is where a single voter says that it is, far above what is known otherwise."""
        return self.term > self.known + MAX_RAISE + 1


def stand(
    voter: Voter, reported: int = 0, left_behind: int = 0, claims: Iterable[int] | None = None, leapt: int = 0
) -> Candidacy | Refusal:
    """Stand for the run as ``voter``, in a term above each that it has promised or seen, and above ``reported`` and
    ``left_behind``: an earlier candidacy's ``highest``, and its ``left_behind`` if that came to nothing. What it would
    refuse another it does not ask of others. A server without a vote may stand.

    With ``claims`` it may leap, once: the highest of them that anybody may have promised by now is believed, or else
    what it is told as it canvasses, though one voter alone says so. There may be no majority without that voter. It may
    lie, too, and then voters whose clocks are behind do not come along: so the attempt after that goes without a leap.
    ``leapt`` is where to it has leapt already.
    """
    last = voter.most - 1
    known = max(voter.highest, min(left_behind, last))
    leapt = leapt or max((each for each in claims or () if known + MAX_RAISE < each <= last), default=0)
    ceiling = last if claims is not None and not leapt else max(known, leapt) + MAX_RAISE
    term = max(known, min(reported, ceiling, last), leapt, voter.floor or 0) + 1
    asked = Candidature(voter.newest, voter.electorate.manifest, term, voter.against)
    refusal = voter.why_not(voter.member, asked)
    if refusal is not None:
        return refusal
    return Candidacy(voter.member, voter.newest, voter.electorate, term, known, ceiling, term - 1, voter.against)

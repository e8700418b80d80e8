"""Our own candidacy for the run that we stand by in, or lead in a term that a voter has left behind.

It canvasses, votes for itself, asks for votes, and has won or waits and tries again (`protocol.votes.candidacy`).
What a won term is good for is others' business.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final

from protocol.blocks.cid import CID, Block, BlockError
from protocol.chain.takeover import VoteFor, check_vote
from protocol.pacing.backoff import Backoff
from protocol.records.bodies import TakeoverCause, Warrant
from protocol.records.signed_records import parse_record
from protocol.roles.effects import What
from protocol.roles.electing.ballot import Ballot
from protocol.roles.electing.handing_over import HANDOVER_LASTS
from protocol.roles.electing.voted_run import VotedRun
from protocol.roles.leader.run_plan import WonTerm
from protocol.roles.machine import Machine
from protocol.votes.candidacy import LIFE, MAX_RAISE, Candidacy, stand
from protocol.votes.promise import KeptVote
from protocol.votes.silence import LEAST_SILENCE, jitter
from protocol.votes.voter import rank
from protocol.wire.announcements import Canvassed, Position, Refusal, VoteReady, WarrantReady

ASK_AGAIN: Final = 1.0
"""Seconds until a candidate asks again, at most: it is asked soon first, as whatever is announced again."""

USE: Final = 5.0
"""Seconds until we may stand again after a victory, if nothing comes of it."""

LEAP_LASTS: Final = 3.0
"""Seconds that a candidate canvasses in a term to which one voter alone has led it."""

GIVES_WAY: Final = 1.5
"""Seconds that a server whose app is not up lets others go first, once: as long as they wait for a silent leader."""

Wins = Callable[[WonTerm, float], None]
"""Called with the term, and the time."""


class Standing:
    """At most one candidacy at a time."""

    wins: Wins
    """Called when a majority has voted for us. The role sets it."""

    is_up: Callable[[], bool]
    """Whether our app could go on with the run at once. The role sets it."""

    promised: Callable[[], int]
    """The highest term that a voter says it has promised, 0 if none does. A leader sets it."""

    def __init__(
        self,
        run: Callable[[], VotedRun | None],
        ballot: Ballot,
        over: Callable[[], float | None],
        catches_up: Callable[[bytes, Position, float], None],
        machine: Machine[Any],
    ) -> None:
        """``over()`` is from when on we may stand, None if we cannot now; ``catches_up(by, position, now)`` is
        called with a head that a voter has and we lack."""
        self.is_up, self.promised = lambda: True, lambda: 0
        self._run = run
        self._ballot = ballot
        self._over = over
        self._catches_up = catches_up
        self._newest, self._announcer = machine.newest, machine.announcer
        self._equivocations, self._outbox = machine.equivocations, machine.outbox
        self._candidacy: Candidacy | None = None
        self._since = 0.0
        self._votes: dict[CID, Block] = {}
        """Of the voters, by CID."""
        self._retry = Backoff(0.0)
        self._attempt = 0
        """How many came to nothing since there was a leader."""
        self._not_before = 0.0
        self._reported = self._left_behind = 0
        self._claims: frozenset[int] = frozenset()
        """The terms in which single voters said to be as the attempt before came to nothing."""
        self._may_leap = True
        """Whether this attempt may go to such a term: not if the one before did, and came to nothing."""
        self._leapt = 0
        """The term to which it went."""
        self._votes_for_itself = False
        """Whether its own vote is on its way to disk."""
        self._has_given_way = False
        """Whether others could go first, since there was a leader."""
        self._handed_over_until = -math.inf
        """Until when the leader's word holds that we are to lead."""
        self._warrant: Block | None = None
        """By which an admin wants us to lead, as long as that counts."""

    @property
    def candidacy(self) -> Candidacy | None:
        """What is under way."""
        return self._candidacy

    # -- time -------------------------------------------------------------------------------------------------------

    def _stands_at(self) -> float | None:
        over = self._over()
        if over is None:
            return None
        return max(over + jitter(self._newest.author.session, self._attempt), self._not_before)

    def due(self, now: float) -> None:
        """Stand, go on, or give it up, as it is."""
        run = self._run()
        if self._warrant is not None:
            self._warrant = self._ballot.warrants.block(self._newest.author.member, now)
        if run is None or run.is_closed:
            self._candidacy = None
            return
        if (candidacy := self._candidacy) is not None:
            self._go_on(candidacy, run, now)
        if self._candidacy is None and (at := self._stands_at()) is not None and now >= at:
            if self._has_given_way or self.is_up():
                self._stand(run, now)
            else:
                self._has_given_way, self._not_before = True, now + GIVES_WAY

    def moments(self) -> Iterator[float]:
        """When `due` has something to do."""
        run = self._run()
        if run is None or run.is_closed:
            return
        if self._candidacy is not None:
            yield self._ends_at(self._candidacy)
            if not self._votes_for_itself:
                yield self._retry.at
        elif (at := self._stands_at()) is not None:
            yield at

    def handed_over(self, by: bytes, to: bytes, now: float) -> None:
        """The leader wants a server to lead its run. If that is us we stand at once, and otherwise not before we would
        if the leader were silent."""
        run = self._run()
        if to != self._newest.author.member:
            self._not_before = max(self._not_before, now + LEAST_SILENCE)
        elif run is not None and now >= self._handed_over_until:
            self._handed_over_until, self._not_before, self._attempt = now + HANDOVER_LASTS, now, 0
            self._has_given_way = True
            name = self._newest.manifest.name_of(by)
            self._outbox.report(What.HANDED_OVER, run=str(run.position.run), name=name)

    def warranted(self, warrant: Warrant, now: float) -> None:
        """An admin wants a server to lead the run. If that is us we stand at once, and otherwise not before we would if
        the leader were silent."""
        run = self._run()
        if warrant.candidate != self._newest.author.member:
            self._not_before = max(self._not_before, now + LEAST_SILENCE)
        elif run is not None:
            self._warrant = self._ballot.warrants.block(warrant.candidate, now)
            self._not_before, self._attempt, self._has_given_way = now, 0, True
            name = self._newest.manifest.name_of_key(warrant.by)
            self._outbox.report(What.WARRANTED, run=str(run.position.run), name=name)

    @property
    def is_warranted(self) -> bool:
        """Whether an admin wants us to lead, be there a leader or not."""
        return self._warrant is not None

    def leader_speaks(self) -> None:
        """There is a leader: what was tried before is over, unless we ask for votes already, which is a promise; or an
        admin wants us to lead in its place, or we contradict it."""
        run = self._run()
        if self.is_warranted or (run is not None and run.disputed is not None):
            return
        self._begins_again()
        self._has_given_way = False
        if self._candidacy is not None and not self._candidacy.asks and not self._votes_for_itself:
            self._candidacy = None

    def _begins_again(self) -> None:
        """Nothing that was tried so far counts for the next attempt."""
        self._attempt = 0
        self._claims, self._leapt, self._may_leap = frozenset(), 0, True

    # -- one candidacy ----------------------------------------------------------------------------------------------

    def _stand(self, run: VotedRun, now: float) -> None:
        voter = self._ballot.voter(run, self._newest.author.member, now)
        claims = self._claims | {self.promised()} if self._may_leap else None
        candidacy = stand(voter, self._reported, self._left_behind, claims, self._leapt)
        if isinstance(candidacy, Refusal):
            self._not_before = now + ASK_AGAIN
            return
        is_wanted = now < self._handed_over_until or self.is_warranted
        if not self._attempt and not is_wanted and run.disputed is None:
            self._outbox.report(What.STANDS, run=str(run.position.run), term=candidacy.term)
        self._candidacy, self._since, self._votes_for_itself = candidacy, now, False
        self._votes.clear()
        self._retry = Backoff(now)
        self._ask(candidacy, now)
        self._took(candidacy, now)

    def _go_on(self, candidacy: Candidacy, run: VotedRun, now: float) -> None:
        moved = run.position != candidacy.position or run.against != candidacy.against
        if self._is_given_up(candidacy):
            self._candidacy, self._leapt = None, 0
        elif now >= self._ends_at(candidacy) or (moved and run.position.term >= candidacy.term):
            self._fails(candidacy, now)
        elif moved and not candidacy.asks and not self._votes_for_itself:
            self._candidacy = None  # with the newer head, at once
        elif now >= self._retry.at and not self._votes_for_itself:
            self._ask(candidacy, now)

    def _is_given_up(self, candidacy: Candidacy) -> bool:
        """Whether we have voted in a higher term since: a takeover of ours in the lower one would break that promise,
        and what the members that follow it confirm could be lost (Raft, 5.1: a candidate steps down then)."""
        return self._ballot.is_outvoted(candidacy.position.run, candidacy.term)

    def _ends_at(self, candidacy: Candidacy) -> float:
        """When a candidacy comes to nothing. Soon, if it has leapt to where no majority would vote for it."""
        is_asked = candidacy.asks or self._votes_for_itself
        return self._since + (LIFE if is_asked or not candidacy.leaps else LEAP_LASTS)

    def _ask(self, candidacy: Candidacy, now: float) -> None:
        self._retry.back_off(now)
        self._retry.at = min(self._retry.at, now + ASK_AGAIN)
        if (block := self._warrant) is not None:  # a voter that lacks it would refuse
            self._announcer.announce(WarrantReady(candidacy.position.run, block.cid), (block,))
        self._announcer.announce(candidacy.question)

    def _fails(self, candidacy: Candidacy, now: float) -> None:
        """It came to nothing. Another attempt waits a while, longer each time, so that two candidates fall apart."""
        self._candidacy = None
        self._reported = max(self._reported, candidacy.highest)
        self._left_behind = max(self._left_behind, candidacy.left_behind)
        self._claims, self._leapt, self._may_leap = candidacy.claims, 0, not (self._leapt or candidacy.leaps)
        self._attempt += 1
        self._not_before = now + jitter(self._newest.author.session, self._attempt)
        if self._attempt == 1:
            manifest = self._newest.manifest
            said = sorted(f"{manifest.name_of(by)}: {refusal}" for by, refusal in candidacy.refusals)
            why = ", ".join(said) or "nobody answered"
            run = str(candidacy.position.run)
            self._outbox.report(What.STANDS_NO_MORE, run=run, term=candidacy.term, why=why)

    # -- answers ----------------------------------------------------------------------------------------------------

    def canvassed(self, by: bytes, told: Canvassed, now: float) -> None:
        """A voter has answered."""
        if self._candidacy is None:
            return
        candidacy = self._candidacy.answered(by, told)
        self._candidacy = candidacy
        if candidacy.is_beaten and not self._votes_for_itself:
            self._reported = candidacy.highest
            if self._may_leap and not self._leapt and candidacy.highest > candidacy.known + MAX_RAISE:
                self._leapt = candidacy.highest
            if candidacy.asks:
                self._fails(candidacy, now)
            else:
                self._candidacy = None
                self.due(now)
            return
        if candidacy.ahead is not None and not candidacy.asks and not self._votes_for_itself:
            newest = told.position if by in candidacy.electorate.all else None
            if newest is not None and rank(newest) > rank(candidacy.position):  # of each its own: one may invent one
                self._catches_up(by, newest, now)
        self._took(candidacy, now)

    def voted(self, by: bytes, ready: VoteReady, inline: Iterable[Block], now: float) -> None:
        """A voter has voted; perhaps for us."""
        candidacy, run = self._candidacy, self._run()
        block = next((block for block in inline if block.cid == ready.record), None)
        if block is None or candidacy is None or run is None or run.position != candidacy.position:
            return
        if not candidacy.asks or now >= self._since + LIFE or not self._is_vote(by, block, candidacy, run):
            return
        known = next((vote for voter, vote in candidacy.votes if voter == by), None)
        if known is not None:
            if known != block.cid:
                self._equivocations.compare(known, block.cid, (self._votes[known], block), now)
            return
        self._votes[block.cid] = block
        self._candidacy = candidacy = candidacy.voted(by, block.cid)
        self._took(candidacy, now)

    def _is_vote(self, by: bytes, block: Block, candidacy: Candidacy, run: VotedRun) -> bool:
        """Whether it is the member's vote for us, by the rules by which others will judge the takeover."""
        at = candidacy.position
        ours = VoteFor(at.run, candidacy.term, candidacy.member, at.head, at.height, candidacy.against, run.manifest)
        try:
            check_vote(record := parse_record(block), ours, candidacy.electorate.all)
        except BlockError:
            return False
        return record.body.by == by

    def _took(self, candidacy: Candidacy, now: float) -> None:
        """See what follows from what is known by now."""
        run = self._run()
        if self._is_given_up(candidacy):
            self._candidacy, self._leapt = None, 0
        elif candidacy.has_won:
            self._candidacy, self._not_before = None, now + USE
            self._begins_again()
            head, votes = candidacy.position.head, tuple(self._votes[each] for each in candidacy.won_with)
            run_id = str(candidacy.position.run)
            self._outbox.report(What.ELECTED, run=run_id, term=candidacy.term, votes=len(votes))
            self._wins(candidacy, head, votes, run, now)
        elif (
            candidacy.may_ask and not self._votes_for_itself and run is not None and run.position == candidacy.position
        ):
            if self._ballot.voter(run, candidacy.member, now).why_not(candidacy.member, candidacy.question) is not None:
                self._candidacy = None  # we have voted for another since we began to ask, or hear the leader again
                return
            self._votes_for_itself = True
            # without a vote, too: what is on disk keeps us from a second takeover in this term
            self._ballot.vote(candidacy.member, candidacy.question, run, self._has_voted, now)

    def _wins(
        self, candidacy: Candidacy, head: CID, votes: tuple[Block, ...], run: VotedRun | None, now: float
    ) -> None:
        """Begin the term, unless it is against a record that we contradict no more."""
        disputed = None if run is None or run.against != candidacy.against else run.disputed
        warrant = self._ballot.warrants.block(candidacy.member, now) if candidacy.against is None else None
        is_wanted = warrant is not None or now < self._handed_over_until
        cause = TakeoverCause.HANDOVER if is_wanted else TakeoverCause.SILENCE
        cause = cause if candidacy.against is None else TakeoverCause.DISPUTE
        self._warrant = None
        if candidacy.against is None or disputed is not None:
            self.wins(WonTerm(candidacy.term, cause, head, votes, disputed, warrant), now)

    def _has_voted(self, kept: KeptVote, now: float) -> None:
        """Our own vote is on disk: ask for the others'."""
        candidacy = self._candidacy
        if candidacy is None or (candidacy.term, candidacy.position.head) != (kept.promise.term, kept.promise.head):
            return
        self._votes[kept.block.cid] = kept.block
        self._asks(candidacy.voted(candidacy.member, kept.block.cid), now)

    def _asks(self, candidacy: Candidacy, now: float) -> None:
        self._votes_for_itself = False
        if self._is_given_up(candidacy):
            self._candidacy, self._leapt = None, 0
            return
        self._candidacy = candidacy = candidacy.asking()
        self._retry = Backoff(now)
        self._ask(candidacy, now)
        self._took(candidacy, now)

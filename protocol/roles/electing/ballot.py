"""Our vote in the run that a role leads or follows: who asks for it, what it says, and what it binds us to.

The rules are in `protocol.votes.voter`. A vote is on disk before it is announced, and so is what it promises.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final

from protocol.blocks.cid import CID
from protocol.pacing.at_most_every import AtMostEvery
from protocol.pacing.backoff import Backoff
from protocol.records.bodies import Role, Vote
from protocol.records.signed_records import sign_record
from protocol.roles.effects import KeepVote, What
from protocol.roles.electing.voted_run import VotedRun
from protocol.roles.electing.warrants import Warrants
from protocol.roles.machine import Machine
from protocol.votes.candidacy import LIFE, MAX_RAISE
from protocol.votes.promise import KeptVote, Promise, is_outvoted
from protocol.votes.reports import ASK_AFTER, Reports
from protocol.votes.voter import Voter, rank
from protocol.wire.announcements import (
    Candidature,
    Canvass,
    Canvassed,
    Position,
    Refusal,
    VoteAsked,
    VoteReady,
    topic_leader,
)

ANSWER_AGAIN: Final = 0.1
"""Seconds between two answers to one member, to a canvass and to the question for a vote apart: a candidate asks again
after 0.25 seconds, and one that floods us has no more answers."""

LONGEST_WAIT: Final = 24 * 3600.0
"""Seconds that a candidate is without an answer at most, which has had votes and leads nothing by them."""

TELL_AGAIN: Final = 1.0
"""Seconds between two times that a leader of a lower term is told what we have promised."""


@dataclass(frozen=True, slots=True)
class _Given:
    """Votes for one candidate in one run."""

    term: int = 0
    until: float = -math.inf
    """Until when it has no other."""
    leaps: int = 0
    """How many of them took us far above what we knew."""

    def another(self, term: int, now: float, *, leaps: bool) -> _Given:
        """One more vote. A candidate that takes us further and further, and leads nothing by that, waits twice as long
        each time: a voter whose clock is behind ours votes there too by then, for another."""
        waits = LIFE * 2**self.leaps if leaps else LIFE
        return _Given(term, now + min(waits, LONGEST_WAIT), self.leaps + leaps)


class Ballot:
    """One vote a term, in one run at a time."""

    def __init__(
        self,
        run: Callable[[], VotedRun | None],
        hears_leader: Callable[[float], bool],
        remembers: Callable[[CID], bool],
        machine: Machine[Any],
    ) -> None:
        """``run()`` is the run; ``hears_leader(now)`` whether its leader still speaks, or is this role itself;
        ``remembers(run)`` whether this home has forgotten nothing that it signed there."""
        self._run = run
        self._hears_leader = hears_leader
        self._remembers = remembers
        self._newest, self._announcer, self._copies = machine.newest, machine.announcer, machine.copies
        self._equivocations, self._outbox = machine.equivocations, machine.parts.outbox  # a vote outlives its role
        self._own = machine.acting.votes
        self.warrants = Warrants(run, machine)
        self._may_answer = AtMostEvery(ANSWER_AGAIN)
        self._may_tell = AtMostEvery(TELL_AGAIN)
        self._retry = Backoff(0.0)
        self._given: dict[tuple[CID, bytes], _Given] = {}
        """The newest vote for each other candidate in a run, of this process."""
        self._known: tuple[CID, bool] | None = None
        """Whether the run is remembered, since it does not change while we run, and is looked up on disk."""
        self.lacks: Callable[[bytes, Position, float], None] = lambda _by, _position, _now: None
        """Called with the head of a candidate that we have not verified, and without which we do not vote for it."""
        self.votes: Callable[[float], None] = lambda _now: None
        """Called when we have voted for another."""

    # -- what it binds us to ----------------------------------------------------------------------------------------

    def promise(self, run: CID) -> Promise | None:
        """What our newest vote in a run promises."""
        return self._own.promise(run)

    def is_outvoted(self, run: CID, term: int) -> bool:
        """Whether what a leader says in this term counts for nothing here."""
        promise = self._own.promise(run)
        return is_outvoted(term, promise) and (promise is None or self._binds(run, promise))

    def _binds(self, run: CID, promise: Promise) -> bool:
        """Whether a promise binds us to others. One that a server without a vote gives itself does not: it only keeps
        it from another takeover in that term."""
        now, ours = self._run(), self._newest.author.member
        if promise.candidate != ours or now is None or now.position.run != run:
            return True
        return ours in now.electorate(self._newest.manifest).all

    def may_confirm(self, run: VotedRun) -> bool:
        """Whether we may say how far we have verified a run: its leader takes that for a word that no takeover loses
        it. Nobody who has promised a higher term gives that word, nor who may have forgotten to have done so."""
        term = run.position.term
        floor = self._floor(run)
        return not self.is_outvoted(run.position.run, term) and floor is not None and term >= floor

    def tell_outvoted(self, leader: bytes, position: Position, run: VotedRun, now: float) -> None:
        """Tell a leader in which term we follow nobody any more, since we have promised it or may have: it has to stand
        again in a higher one, or to step down."""
        promise, floor = self._own.promise(position.run), self._floor(run) or 0
        highest = max(floor, 0 if promise is None else promise.term)
        if highest > position.term and self._may_tell.take(leader, now):
            told = Canvassed(leader, position.run, position.term, highest, Refusal.OLD_TERM, None)
            self._announcer.announce(told, topic=topic_leader(self._newest.manifest.federation))

    # -- being asked ------------------------------------------------------------------------------------------------

    def voter(self, run: VotedRun, candidate: bytes, now: float) -> Voter:
        """We, as one that may vote for ``candidate``."""
        electorate = run.electorate(self._newest.manifest)
        proof_against, members = self._equivocations.distrust.proof_against, self._newest.manifest.members
        servers = [members[each] for each in electorate.candidates]
        return Voter(
            member=self._newest.author.member,
            newest=run.position,
            electorate=electorate,
            promise=self._own.promise(run.position.run),
            leader=run.leader,
            against=run.against,
            seen=run.seen,
            hears_leader=self._hears_leader(now) and not self._may_stand_anyway(candidate, run, now),
            is_closed=run.is_closed,
            is_copied=not self._copies.may_sign,
            distrusted=frozenset(each.id for each in servers if proof_against(each) is not None),
            now=now,
            floor=self._floor(run) if run.is_whole else None,
        )

    def _may_stand_anyway(self, candidate: bytes, run: VotedRun, now: float) -> bool:
        """Whether the leader is not in the way of a candidate: most servers contradict it, or an admin wants that."""
        return run.disputed is not None or self.warrants.counts(candidate, now)

    def asked(self, by: bytes, asked: Canvass | VoteAsked, now: float) -> bool:
        """A member canvasses, or asks for our vote. Whether that is about our run."""
        run, member = self._run(), self._newest.manifest.members.get(by)
        if run is None or asked.position.run != run.position.run or member is None:
            return False
        if not self._may_answer.take((by, type(asked)), now):
            return False
        voter = self.voter(run, by, now)
        if isinstance(asked, VoteAsked) and voter.has_voted_so(by, asked):
            if (kept := self._own.on_disk(run.position.run)) is not None:
                self._give(run.position.run, kept, now)
            return True
        if self._has_its_vote(by, run, now):
            voter = replace(voter, waits_for=by)
        refusal = voter.refuses(by, asked)
        if isinstance(asked, VoteAsked) and refusal is None:
            leaps = asked.term > voter.highest + MAX_RAISE
            self._given[run.position.run, by] = self._before(by, run).another(asked.term, now, leaps=leaps)
            self.vote(by, asked, run, partial(self._give, run.position.run), now)
            self.votes(now)
            return True
        if refusal is Refusal.AHEAD:
            self.lacks(by, asked.position, now)
        elif refusal is Refusal.DISPUTED and asked.against is not None and run.against is None:
            at = run.position
            self.lacks(by, Position(at.run, asked.against, at.height + 1, at.term), now)
        told = Canvassed(
            by, asked.position.run, asked.term, self._known_to(voter, asked, refusal), refusal, run.position
        )
        federation = self._newest.manifest.federation
        self._announcer.announce(told, topic=topic_leader(federation) if Role.SERVER in member.roles else "")
        return True

    def _known_to(self, voter: Voter, asked: Canvass | VoteAsked, refusal: Refusal | None) -> int:
        """The highest term that we tell of: that we have promised or seen, or may not vote in since we have forgotten.

        A home that has forgotten, which asks about a term that no candidate has, hears of those too in which we would
        have voted. A majority would have before anybody was asked for a vote, so that home votes in none of them again.
        """
        run, highest = voter.newest.run, max(voter.highest, voter.floor or 0)
        if refusal is None:
            self._own.willing[run] = max(asked.term, self._own.willing.get(run, 0))
        return max(highest, self._own.willing.get(run, 0)) if asked.term > voter.most else highest

    def _has_its_vote(self, by: bytes, run: VotedRun, now: float) -> bool:
        """Whether we have voted for a member within the life of a candidacy, and it does not lead by that yet. It is
        left to that, as a leader that is heard. One that asked for more votes without end, and led nothing by them,
        would leave no other a chance: we follow it in no lower term, be it the leader by now."""
        return now < self._before(by, run).until

    def _before(self, by: bytes, run: VotedRun) -> _Given:
        """What we have given a member since it led."""
        given = self._given.get((run.position.run, by))
        return _Given() if given is None or given.term <= run.position.term else given

    def vote(
        self,
        candidate: bytes,
        asked: Candidature,
        run: VotedRun,
        then: Callable[[KeptVote, float], None],
        now: float,
    ) -> None:
        """Sign our vote; ``then(vote, now)`` runs when it is on disk."""
        vote = Vote(
            by=self._newest.author.member,
            time=now,
            run=run.position.run,
            term=asked.term,
            candidate=candidate,
            head=run.position.head,
            height=run.position.height,
            manifest=run.manifest.cid,
            against=run.against,
        )
        kept = KeptVote.of(sign_record(vote, [self._newest.author.key_in(run.manifest)]))
        self._own.sign(vote.run, kept)
        self._outbox.must(KeepVote, partial(self._is_kept, kept, then), vote.run, vote.term, kept.block)
        name = self._newest.manifest.name_of(candidate)
        if vote.by in run.electorate(self._newest.manifest).all:
            self._outbox.report(What.VOTED, run=str(vote.run), term=vote.term, name=name)

    def _is_kept(self, kept: KeptVote, then: Callable[[KeptVote, float], None], now: float) -> None:
        self._own.is_kept(kept)
        then(kept, now)

    def _give(self, run: CID, kept: KeptVote, now: float) -> None:
        promise = kept.promise
        ready = VoteReady(run, promise.candidate, promise.term, promise.vote)
        self._announcer.announce(ready, (kept.block,), topic=topic_leader(self._newest.manifest.federation))

    # -- a home that may have forgotten a vote ----------------------------------------------------------------------

    def _floor(self, run: VotedRun) -> int | None:
        """As `Voter.floor`. Where one server alone may lead, no vote was ever asked for."""
        if self._has_forgotten_nothing(run.position.run):
            return 0
        electorate = run.electorate(self._newest.manifest)
        if len(electorate.candidates) < 2:
            return 0
        reports = self._own.reports.get(run.position.run, Reports())
        ours = self._newest.author.member
        head = reports.head(ours, electorate)
        return None if head is None or rank(run.position) < head else reports.floor(ours, electorate)

    def _has_forgotten_nothing(self, run: CID) -> bool:
        if self._known is None or self._known[0] != run:
            self._known = (run, self._remembers(run))
        return self._known[1]

    def _asks(self) -> VotedRun | None:
        """The run of which we have to ask the others, since we may have forgotten our vote."""
        run = self._run()
        return None if run is None or run.is_closed or self._floor(run) is not None else run

    def _question(self, run: CID) -> int:
        """The term that we ask about. It is higher than any candidate's, and of this process alone, so that no older
        answer passes for a new one."""
        drawn = hashlib.sha256(b"pollen forgotten vote" + self._newest.author.session + bytes(run)).digest()
        return int.from_bytes(drawn[:8], "big") >> 2 | 1 << 62

    def begin(self, now: float) -> None:
        """We can be heard from now on."""
        if self._own.began is None:
            self._own.began = now

    @property
    def _may_ask_at(self) -> float:
        assert self._own.began is not None
        return self._own.began + ASK_AFTER

    def due(self, now: float) -> None:
        """Ask the others what terms they know, if we have to and it is time."""
        if (run := self._asks()) is not None and now >= max(self._may_ask_at, self._retry.at):
            self._retry.back_off(now)
            term = self._question(run.position.run)
            self._announcer.announce(Canvass(run.position, run.manifest.cid, term))

    def reported(self, by: bytes, told: Canvassed, now: float) -> None:
        """A member has answered us."""
        run = self._asks()
        if run is None or told.to != self._newest.author.member or told.run != run.position.run:
            return
        if told.term == self._question(told.run):
            reports = self._own.reports.get(told.run, Reports())
            self._own.reports[told.run] = reports.heard(by, told.highest, told.position)
            if told.position is not None and rank(told.position) > rank(run.position):
                self.lacks(by, told.position, now)

    def moments(self) -> Iterator[float]:
        """When others are to be asked."""
        if self._asks() is not None:
            yield max(self._may_ask_at, self._retry.at)

"""Which voters a leader hears, and how far each has come: whether it may go on, and what of its run is settled.

Only in a run in which a standby was heard. In any other nobody else could lead, and a leader goes on alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, Final

from protocol.blocks.cid import CID
from protocol.federation.voters import majority_of
from protocol.pacing.at_most_every import AtMostEvery
from protocol.roles.effects import What
from protocol.roles.electing.voted_run import VotedRun
from protocol.roles.leader.presence import BEATS, silent_for
from protocol.roles.machine import Machine
from protocol.votes.candidacy import LIFE
from protocol.votes.electorate import Electorate
from protocol.votes.settling import settled_height
from protocol.wire.announcements import Canvassed, Position, beat_interval

BELIEVED_AGAIN: Final = 60.0
"""Seconds in which a voter's word that it has promised a higher term is believed once: it has its leader stand again,
and one that says so without having promised anything would have it do that for ever."""


class VotersHere:
    """The voters of the run that this role leads."""

    def __init__(self, run: Callable[[], VotedRun | None], machine: Machine[Any]) -> None:
        self._run = run
        self._newest, self._offline, self._outbox = machine.newest, machine.offline, machine.outbox
        self._heard: dict[bytes, float] = {}
        """When each member was heard last."""
        self._positions: dict[bytes, Position] = {}
        """How far each says that it has verified the run, or said last."""
        self._confirmed: dict[bytes, float] = {}
        """When each said so last, of those that have not taken it back."""
        self._settled: CID | None = None
        """The newest record that was the newest of the run when it was settled: it stays so."""
        self._promised: dict[bytes, int] = {}
        """The highest term that each says it has promised or seen."""
        self._told_in: dict[bytes, int] = {}
        """The term of ours in which each said so."""
        self._may_promise = AtMostEvery(BELIEVED_AGAIN)
        self._watched_since: float | None = None
        self._is_short = False
        """Whether people were told that too few are here."""
        self._settled_roster = 0
        """The height of the newest roster that changed who votes and is settled."""

    # -- hearing ----------------------------------------------------------------------------------------------------

    def heard(self, by: bytes, now: float) -> None:
        """A member gives a sign of life."""
        self._heard[by] = now

    def confirms(self, by: bytes, position: Position | None, now: float) -> None:
        """A member says how far it has verified a run; None if it may not say, as one whose home was restored."""
        self.heard(by, now)
        run = self._run()
        if position is None:
            self._confirmed.pop(by, None)
        elif run is not None and position.run == run.position.run:
            self._positions[by], self._confirmed[by] = position, now
            if position == run.position and self.has_settled(run):
                self._settled = position.head

    def stands_by(self, now: float) -> None:
        """A standby is here: from now on another may come to lead. Voters have some time to be heard."""
        if self._watched_since is None:
            self._watched_since = now

    def left(self, by: bytes) -> None:
        """A member says goodbye."""
        self._heard.pop(by, None)

    def told(self, by: bytes, told: Canvassed, now: float) -> None:
        """A voter says what it has promised or seen."""
        run = self._run()
        self._heard[by] = now
        if run is None or told.run != run.position.run or told.highest <= run.position.term:
            return
        if by in run.electorate(self._newest.manifest).all and self._may_promise.take(by, now):
            self._promised[by], self._told_in[by] = told.highest, run.position.term

    # -- what follows -----------------------------------------------------------------------------------------------

    @property
    def is_watched(self) -> bool:
        """Whether a standby was heard in this run."""
        return self._watched_since is not None

    def outvoted_by(self, run: VotedRun) -> int | None:
        """The highest term above the run's that a voter has promised, as it says since the run is in its term; None if
        none does. So one word has us stand again once: whoever claims a term that we cannot come to has no more."""
        ours = run.position.term
        told = {by: self._promised[by] for by, term in self._told_in.items() if term == ours}
        if not told:  # as nearly always: who votes is looked up for nothing
            return None
        voters = run.electorate(self._newest.manifest).all
        return max((term for by, term in told.items() if by in voters and term > ours), default=None)

    def following(self, run: VotedRun, now: float) -> frozenset[bytes]:
        """The voters that are heard and follow no other leader, ourselves among them."""
        voters = run.electorate(self._newest.manifest).all
        ours = self._newest.author.member
        return frozenset(by for by in voters if by == ours or self._follows(by, run, now))

    def _follows(self, by: bytes, run: VotedRun, now: float) -> bool:
        return self._agrees(by, run) and now < self._heard_until(by)

    def _agrees(self, by: bytes, run: VotedRun) -> bool:
        """Whether a member has said nothing of a higher term."""
        term, position = run.position.term, self._positions.get(by)
        return self._promised.get(by, 0) <= term and (position is None or position.term <= term)

    def _heard_until(self, by: bytes) -> float:
        heard = max(self._heard.get(by, 0.0), self._watched_since or 0.0)
        members = len(self._newest.manifest.members)
        return self._offline.ends(heard, silent_for(members, BEATS * beat_interval(members)))

    def may_go_on(self, now: float) -> bool:
        """Whether a record may be appended: enough voters follow us, so that no other leader has been elected."""
        run = self._run()
        if run is None or not self.is_watched:
            return True
        return self._deciding(run).is_majority(self.following(run, now))

    def has_settled(self, run: VotedRun) -> bool:
        """Whether a majority has confirmed the newest record: no takeover can lose it."""
        return self._settled == run.position.head or self._height(run, self._deciding(run)) == run.position.height

    def has_settled_roster(self, run: VotedRun) -> bool:
        """Whether the newest roster is settled, or has not changed who votes."""
        return not self._deciding(run).before

    def _deciding(self, run: VotedRun) -> Electorate:
        """Without whom we do not go on. Once the newest roster is settled, no takeover can leave it out, and each that
        comes after it needs a majority of the voters of now. So those before it may be away."""
        electorate = run.electorate(self._newest.manifest)
        if not electorate.before:
            return electorate
        if self._settled_roster != run.manifest_since:
            settled = self._height(run, electorate)
            if settled is None or settled < run.manifest_since:
                return electorate
            self._settled_roster = run.manifest_since
        return replace(electorate, before=frozenset())

    def _height(self, run: VotedRun, electorate: Electorate) -> int | None:
        """The height that is settled.

        A home may have been restored since it confirmed a record, so that it has forgotten the record and votes for
        another. It does neither within `protocol.votes.reports.ASK_AFTER`. So the words of a majority count if they
        were said within the life of a candidacy, which is half of that.
        """
        newest = max(self._confirmed.values(), default=0.0)
        lately = (by for by, at in self._confirmed.items() if newest < at + LIFE)
        confirmed = {by: self._positions[by] for by in lately if self._promised.get(by, 0) <= run.position.term}
        confirmed = {by: at for by, at in confirmed.items() if at.height < run.position.height or at == run.position}
        confirmed[self._newest.author.member] = run.position
        return settled_height(confirmed, electorate, run.position.term)

    # -- people -----------------------------------------------------------------------------------------------------

    def tell(self, now: float) -> None:
        """Tell people if too few voters follow us, and when enough do again."""
        run = self._run()
        if run is None or run.is_closed or self.may_go_on(now) is not self._is_short:
            return
        self._is_short = not self._is_short
        if self._is_short:
            count = self._deciding(run).count(self.following(run, now))
            self._outbox.report(What.VOTERS_LACKING, **count._asdict())
        else:
            self._outbox.report(What.VOTERS_BACK)

    @property
    def is_short(self) -> bool:
        """Whether too few voters follow us, as people were told last."""
        return self._is_short

    def moments(self) -> Iterator[float]:
        """When a voter may have been silent for too long."""
        run = self._run()
        if run is None or run.is_closed or not self.is_watched or self._is_short:
            return
        ours = self._newest.author.member
        for voters in self._deciding(run).parts:
            until = sorted(self._heard_until(by) for by in voters if by != ours and self._agrees(by, run))
            needed = majority_of(voters) - (ours in voters)
            if 0 < needed <= len(until):
                yield until[-needed]

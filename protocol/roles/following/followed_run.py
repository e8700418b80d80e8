"""Following runs: hearing of heads, catching up with them, and knowing how far we are."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Final

from protocol.blocks.cid import CID
from protocol.chain.chain import Chain, Step
from protocol.federation.run_keys import read_private
from protocol.pacing.at_most_every import AtMostEvery
from protocol.pacing.backoff import FIRST_RETRY, SLOWEST_RETRY
from protocol.records.bodies import Chained, Close, ReasonPrivate, Role
from protocol.records.signed_records import WellSigned
from protocol.roles.catch_up import CatchUp, Fork, Forked, Lost, keep_step
from protocol.roles.effects import FetchRecord, What
from protocol.roles.following.follower_states import FollowerState
from protocol.roles.following.members_here import MembersHere
from protocol.roles.machine import Machine
from protocol.roles.unchecked_claims import UncheckedClaims
from protocol.votes.voter import rank
from protocol.wire.announcements import Announcement, Position, Recall, Recalled
from protocol.witnesses.agreement import Agreement


@dataclass(frozen=True, slots=True)
class Verified:
    """What earlier processes of this peer have verified."""

    heads: Mapping[CID, Position]
    """How far they came in the runs that they followed, the newest first."""
    well_signed: WellSigned


NOTHING: Final = Verified({}, frozenset())


class FollowedRun:
    """Follows one run at a time, the newest of its leader's."""

    def __init__(self, verified: Verified, servers: MembersHere, machine: Machine[FollowerState]) -> None:
        self._verified = verified
        self._servers = servers
        self._outbox, self._newest = machine.outbox, machine.newest
        self._announcer, self._equivocations = machine.announcer, machine.equivocations
        self._machine = machine
        self.run: CatchUp | None = None
        """The run that is followed."""
        self._before = next(iter(verified.heads.values()), None)
        self._came_to = dict(verified.heads)
        """How far we have verified each run, in this process or one before, but for what we have laid down since."""
        self._fetching: set[CID] = set()
        self._led: dict[bytes, float] = {}
        """When each server last said that it leads a run."""
        self._ours_led = -math.inf
        """When the leader of the run followed last said that it leads that one. It may lead others beside it."""
        self._processes: dict[bytes, bytes] = {}
        """The process of each server that asked last (`Recall.session`)."""
        self._lost: Counter[bytes] = Counter()
        """How often in a row nothing came of what a server said."""
        self._may_answer = AtMostEvery(FIRST_RETRY)
        """Each server."""
        self._claims = UncheckedClaims(1, SLOWEST_RETRY)
        """Heads in higher terms, announced by servers that do not lead the run as far as we know."""
        self._claiming: set[bytes] = set()
        """The servers whose claim is looked into."""
        self._now = 0.0
        """When what is here was verified last."""
        self.holds: Callable[[], bool] = lambda: False
        """Whether something is left to do of the run followed, though it be closed."""
        self.forked: Callable[[CatchUp, Fork, float], None] = lambda _run, _fork, _now: None
        """Called when a takeover has led around what was verified of the run followed. The role sets it."""
        self._may_catch_up = AtMostEvery(1.0)
        """With the head of each member that leads no run."""
        self._hearsay = UncheckedClaims(1, SLOWEST_RETRY)
        """Such heads in the run's own term: as long as one is looked for, no other is."""
        self._heard_from: tuple[bytes, Position] | None = None
        """The member whose head was looked for last, until it is known what has come of that."""
        self._taken_up: Position | None = None
        """What we had verified of a run that was followed again because a server would lead it on."""
        self._told: tuple[CID, int] | None = None
        """The run and the term of which people were told who leads in it, before we followed it."""
        self._on_disk: Position | None = None
        """The newest head of the run followed that is."""
        self._close_on_disk: CID | None = None
        """The newest close that is."""
        self._once_close_on_disk: tuple[CID, Callable[[float], None]] | None = None
        self.may_confirm: Callable[[], bool] = lambda: True
        """Whether we may say how far we have verified the run followed. `protocol.roles.following.voting` sets it."""
        self.is_outvoted: Callable[[Position], bool] = lambda _: False
        """Whether we have promised a higher term than that of a head: then it is not said. The same sets it."""

    # -- how far we are ---------------------------------------------------------------------------------------------

    @property
    def position(self) -> Position | None:
        """What this client has verified: its acknowledgement. A process that has caught up with nothing yet says how
        far the one before it was: a leader may have forgotten (`protocol.roles.leader.forgotten_records`)."""
        run, before = self.run, self._before
        if run is None:
            return before
        ours = run.position
        if ours is None or (before is not None and before.run == run.run and rank(before) > rank(ours)):
            return before
        return ours

    @property
    def is_whole(self) -> bool:
        """Whether all is here that we have ever verified of the run followed. A process verifies a run again from its
        beginning, and so does one that goes back further than it remembers."""
        if self.run is None or (ours := self.run.position) is None:
            return False
        came_to = self._came_to.get(self.run.run)
        return came_to is None or rank(ours) >= rank(came_to)

    @property
    def confirmed(self) -> Position | None:
        """`position` as others are told it, who count on it: once it is on disk, and nothing that we have promised
        keeps us from saying it."""
        position, run = self.position, self.run
        if run is not None and position is not None and position.run == run.run:
            if not self.may_confirm():
                return None
            if position.head == run.chain.head:  # else it is of a process before this one
                position = self._on_disk if self._on_disk is not None and self._on_disk.run == run.run else None
        return None if position is None or self.is_outvoted(position) else position

    def _is_on_disk(self, position: Position | None, closed: bool, now: float) -> None:
        self._on_disk = position
        if closed and position is not None:
            self._close_on_disk = position.head
            self._announcer.beat_soon(now)  # the leader waits for that
            if self._once_close_on_disk is not None:
                self.once_close_on_disk(*self._once_close_on_disk, now)

    def once_close_on_disk(self, close: CID, then: Callable[[float], None], now: float) -> None:
        """Call ``then(now)`` once that close is on disk: from then on others are told that we have verified it."""
        self._once_close_on_disk = None if close == self._close_on_disk else (close, then)
        if self._once_close_on_disk is None:
            then(now)

    def left(self, server: bytes) -> None:
        """A server has said goodbye, or another process of it has begun: what was led may be led no more."""
        if self.run is not None and self.run.leader == server:
            self._ours_led = -math.inf

    def answer(self, server: bytes, asked: Recall, now: float) -> None:
        """Say to a server that has started how far we know its run, so that it forgets none of it."""
        if self._processes.get(server, asked.session) != asked.session:
            self.left(server)
        self._processes[server] = asked.session
        if asked.run is None or not self._may_answer.take(server, now):
            return
        told = Recalled(server, asked.session, self._newest_of(asked.run))
        self._announcer.announce(told, topic=self._announcer.topic)

    def _newest_of(self, run: CID) -> Position | None:
        """The newest head of a run that we have verified, or heard of."""
        heard = self.run.newest if self.run is not None and self.run.run == run else None
        told = [heard, self._verified.heads.get(run)]
        return max((position for position in told if position), key=rank, default=None)

    # -- hearing ----------------------------------------------------------------------------------------------------

    def heard(self, said: Announcement, position: Position, now: float) -> bool:
        """Go on by what a server says of the run that it leads; what it says of another's counts for nothing. Returns
        whether another run is followed from now on."""
        server, run = said.by, self.run
        self._led[server] = now
        begins = False
        if self._machine.acting.is_of_another(position.run, self._machine):
            return False  # another machine of ours follows it
        if run is None or self._may_leave(run, position.run, server, now):
            if self._another_is_better(server, now):
                return False
            if run is None or run.run != position.run:
                run, begins = self._follow(position.run, server), True
            run.server = server
        if run.run != position.run:
            return False
        if run.leader == server:
            self._ours_led = now
        if (ours := run.rival(position)) is not None:
            self._equivocations.compare(ours, position.head, said.blocks, now)
        if run.leader == server:
            run.hear(position, said.blocks)
        elif run.may_claim(server, position) and self._claims.may_open(server, now):
            self._claims.open(server)
            self._claiming.add(server)
            run.claim(server, position, said.blocks)
        else:
            run.note(server, position)
        return begins

    def _claim_ended(self, run: CatchUp, server: bytes, why: str) -> None:
        """What a server said of a higher term was looked into."""
        if server in self._claiming:
            self._claiming.discard(server)
            if why:
                self._claims.failed(server, self._now)
            else:
                self._claims.held(server)
        if why:
            name = self._newest.manifest.name_of(server)
            self._outbox.report(What.CLAIM_REFUSED, run=str(run.run), name=name, why=why)

    def catch_up_with(self, by: bytes, position: Position, now: float) -> None:
        """A candidate or a voter has verified records of the run followed that we lack, as it says; and its leader is
        silent. Every rule is checked of them, and who says it does not count."""
        run = self.run
        if run is None or run.run != position.run or run.has_laid_down(position):
            return
        if not self._may_catch_up.take(by, now):
            return
        if position.term == run.chain.term and run.is_idle:
            self._judge_hearsay(run, now)
            if self._hearsay.may_open(by, now):
                self._hearsay.open(by)
                self._heard_from = by, position
                run.hear(position, ())
        elif run.may_claim(by, position):
            run.claim(by, position, ())

    def _judge_hearsay(self, run: CatchUp, now: float) -> None:
        """Nothing is looked for any more: whose head nobody had is believed less, or it would keep others' from us."""
        if self._heard_from is None:
            return
        (by, position), self._heard_from = self._heard_from, None
        ours = run.position
        if position.run != run.run or (ours is not None and rank(ours) >= rank(position)):
            self._hearsay.held(by)
        else:
            self._hearsay.failed(by, now)

    def begin(
        self, position: Position, leader: bytes, announced: Position | None = None, *, told: bool = False
    ) -> None:
        """Follow a run of which nobody may speak any more, if we follow none yet: up to ``position``, and then to what
        its leader has ``announced``. ``told`` is whether people know already who leads it."""
        self._told = (position.run, position.term) if told else None
        if self.run is None:
            run = self._follow(position.run, leader)
            for each in (position, *([] if announced is None else [announced])):
                run.hear(each, ())

    def take_up(self, position: Position, candidate: bytes, now: float) -> None:
        """A server would lead a run on from here: follow it again if an earlier process of ours did, and we follow
        none. Its leader may be gone for good, and then whoever has started since would never have a vote; nor would
        who has only heard of the run, and asks the candidate for it."""
        known, member = self._verified.heads.get(position.run), self._newest.manifest.members.get(candidate)
        if member is None or Role.SERVER not in member.roles:
            return  # it could lead nothing, and would have us turn to a run of long ago
        if self.run is not None and self.run.chain.head is None and now >= self._servers.silent_until(self._ours_led):
            self.catch_up_with(candidate, position, now)
        if known is not None and not self._machine.acting.is_of_another(position.run, self._machine):
            if self.run is None:
                self._taken_up = known
            self.begin(known, candidate)

    @property
    def was_over(self) -> bool:
        """Whether the run followed was closed as we took it up, only to say so to a server that would lead it on."""
        return self._taken_up is not None and self.run is not None and self.run.position == self._taken_up

    def _follow(self, run: CID, server: bytes) -> CatchUp:
        newest = self._newest
        for claimant in self._claiming:
            self._claims.held(claimant)
        self._claiming.clear()
        chain = Chain(newest.manifest.federation, newest.author.reader, self._verified.well_signed)
        self.run = followed = CatchUp(run, server, newest.manifest, newest.blocks, chain)
        followed.forks = partial(self._forks, followed)
        followed.ended = partial(self._claim_ended, followed)
        self._machine.acting.take_up(run, self._machine)
        return followed

    def _forks(self, run: CatchUp, fork: Fork) -> None:
        what = What.RECORDS_LOST if fork.against is None else What.LAID_DOWN
        self._outbox.report(what, run=str(run.run), count=fork.lost.height - fork.height, height=fork.height)
        ours = run.position
        if self._on_disk is not None and (ours is None or rank(ours) < rank(self._on_disk)):
            self._on_disk = ours  # what is lost is not to be said any more
        if fork.against is not None:
            self._before = None
        self.forked(run, fork, self._now)

    def lay_down(self, run: CatchUp, agreed: Agreement, now: float) -> int:
        """Go back to before a dispatch of the run followed that most servers contradict. Returns the highest term that
        we have verified of the run, in this process or one before."""
        self._now = now
        known = self._verified.heads.get(run.run)
        terms = [run.chain.term, 0 if known is None else known.term]
        self._came_to[run.run] = run.lay_down(agreed.against.cid, agreed.before, agreed.dispatch.height)
        return max(terms)

    def _may_leave(self, run: CatchUp, other: CID, server: bytes, now: float) -> bool:
        """Whether the run followed is over, or its leader has turned to another or is not followed any more, or nothing
        of it could be had yet. A leader may lead several runs: it has turned from one if it speaks of it no more."""
        turned = run.leader == server and now >= self._servers.silent_until(self._ours_led)
        if run.chain.head is None:
            return turned or run.is_idle
        if run.run == other:
            return False
        leader = self._newest.manifest.members.get(run.leader)
        distrusted = self._equivocations.distrust.proof_against(leader) is not None
        return (run.chain.closed and not self.holds()) or turned or distrusted

    def _another_is_better(self, server: bytes, now: float) -> bool:
        """Whether a server speaks whose runs could be had more often: otherwise one that says what is not so would have
        us wait for each of its inventions."""
        return any(
            self._lost[other] < self._lost[server] and now < self._servers.silent_until(heard)
            for other, heard in self._led.items()
        )

    def tell_closed(self, run: CatchUp, close: Close) -> None:
        """Tell people that the run followed is closed, and why."""
        private = read_private(close, ReasonPrivate, run.chain.keys)
        said = {"run": str(run.run), "head": str(run.chain.head), "outcome": close.outcome.value}
        self._outbox.report(What.RUN_CLOSED, **said, why=private.reason if private else "")

    # -- catching up ------------------------------------------------------------------------------------------------

    def steps(self, run: CatchUp, now: float) -> Iterator[Step]:
        """Verify and keep what is here, a record for each step, and fetch what is not."""
        run.manifest, self._now = self._newest.manifest, now
        try:
            for step, blocks in run.steps():
                del self._lost[run.leader]
                if self.is_whole and run.position is not None:
                    self._came_to[run.run] = run.position
                if step.took_over:
                    self._is_taken_over(run, now)
                if step.manifest_changed:
                    self._newest.learn_in_force(run.chain.manifest, blocks, now)
                then = partial(self._is_on_disk, run.position, run.chain.closed)
                keep_step(self._outbox, run.run, step, blocks, then, moves_head=not self._was_on_disk(run))
                yield step
        except Lost as error:
            if isinstance(error, Forked):
                self._equivocations.compare(error.ours, error.theirs, (), now)
            self._give_up(run)
            self._outbox.report(What.RUN_LOST, run=str(run.run), why=str(error))
        for cid in run.wanted():
            if cid not in self._fetching:
                self._fetching.add(cid)
                self._outbox.ask(FetchRecord, partial(self._here, cid), partial(self._not_here, cid), cid, Chained)

    def _was_on_disk(self, run: CatchUp) -> bool:
        """Whether a process before this one, or a role of ours before this one, had verified the run up to here or
        further: its head on disk stays, else a peer that is killed now would go on from an older one."""
        known, chain = self._verified.heads.get(run.run), run.chain
        return known is not None and chain.height <= known.height and chain.term <= known.term

    def _is_taken_over(self, run: CatchUp, now: float) -> None:
        self._ours_led = now
        if (run.run, run.chain.term) == self._told:
            return
        name = self._newest.manifest.name_of(run.chain.by)
        self._outbox.report(What.LEADER_CHANGED, run=str(run.run), name=name, term=run.chain.term)

    def _here(self, cid: CID, blocks: Mapping[CID, bytes], now: float) -> None:
        self._fetching.discard(cid)
        if self.run is not None:
            self.run.fetched(cid, blocks)

    def _not_here(self, cid: CID, why: str, now: float) -> None:
        self._fetching.discard(cid)
        self._outbox.report(What.FETCH_FAILED, cid=str(cid), why=why)
        self._now = now
        if self.run is not None and self.run.not_fetched(cid, why):
            self._give_up(self.run)

    def _give_up(self, run: CatchUp) -> None:
        self._lost[run.leader] += 1
        run.give_up()

"""What a role that follows a run does in its elections: it hears the leader, or not, votes, and keeps its promise."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from protocol.blocks.cid import CID
from protocol.records.bodies import Warrant
from protocol.roles.electing.ballot import Ballot
from protocol.roles.electing.handing_over import HANDOVER_LASTS
from protocol.roles.electing.leader_silence import LeaderSilence
from protocol.roles.electing.voted_run import NewestVotedRun, VotedRun
from protocol.roles.following.followed_run import FollowedRun
from protocol.roles.following.follower_states import FollowerState
from protocol.roles.following.laid_down import LaidDown
from protocol.roles.leader.presence import silent_for
from protocol.roles.machine import Machine
from protocol.votes.silence import LEAST_SILENCE
from protocol.wire.announcements import (
    Announcement,
    Beat,
    Bye,
    Canvass,
    Canvassed,
    HandsOver,
    Head,
    Hello,
    Position,
    VoteAsked,
    WarrantReady,
)

STUCK: Final = 2.0
"""Seconds without a record that a silent leader announced, until it is given up: nobody else may have it. A voter that
has it says so."""


class Voting:
    """A client's and a standby's."""

    def __init__(
        self,
        followed: FollowedRun,
        laid_down: LaidDown,
        remembers: Callable[[CID], bool],
        machine: Machine[FollowerState],
        least_silence: float = LEAST_SILENCE,
    ) -> None:
        """``remembers(run)`` is whether this home has forgotten nothing that it signed in a run; ``least_silence`` as
        `LeaderSilence` takes it."""
        self._followed = followed
        self._laid_down = laid_down
        self._newest_run = NewestVotedRun()
        self._machine = machine
        self._heard: dict[bytes, float] = {}
        """When each member was heard last, as far as it speaks where we listen."""
        self.silence = LeaderSilence(machine.offline, least_silence)
        self.ballot = ballot = Ballot(self.run, lambda now: now < self.silence.ends, remembers, machine)
        ballot.lacks, ballot.votes = self.catch_up_with, self._has_voted
        followed.may_confirm = self.may_confirm
        followed.is_outvoted = lambda position: self.ballot.is_outvoted(position.run, position.term)
        self.leader_speaks: Callable[[], None] = lambda: None
        """Called when the leader is heard. A standby sets it."""
        self.handed_over: Callable[[bytes, bytes, float], None] = lambda _by, _to, _now: None
        """Called with the leader, with whom it wants to lead, and the time. A standby sets it."""
        self.warranted: Callable[[Warrant, float], None] = lambda _warrant, _now: None
        """Called with an admin's warrant, and the time. A standby sets it."""
        self._handed_over: tuple[Position, float] | None = None
        """With which head the leader has handed its run over, and until when that holds."""
        self._came_to: tuple[CID | None, float] = None, 0.0
        """The newest record that is verified, and since when no newer one is."""

    def run(self) -> VotedRun | None:
        """The run that is followed, as far as it is verified."""
        run = self._followed.run
        if run is None:
            return None
        laid_down = self._laid_down
        whole = self._followed.is_whole
        return self._newest_run.of(run.chain, disputed=laid_down.agreed(), seen=laid_down.seen, is_whole=whole)

    def voters_here(self, run: VotedRun, now: float) -> frozenset[bytes]:
        """The voters that are heard besides the leader, ourselves among them."""
        manifest = self._machine.newest.manifest
        here = frozenset(by for by in self._heard if self.heard(by, now) is not None)
        voters = run.electorate(manifest).all
        return (here | {self._machine.newest.author.member}) & voters - {run.leader}

    def heard(self, member: bytes, now: float) -> float | None:
        """When a member was heard last that is heard; None if it is not, or not any more."""
        at, seconds = self._heard.get(member), silent_for(len(self._machine.newest.manifest.members))
        return at if at is not None and now < self._machine.offline.ends(at, seconds) else None

    def heard_since(self, member: bytes, time: float) -> bool:
        """Whether a member was heard after a time, whatever it said; that was no goodbye."""
        return self._heard.get(member, time) > time

    # -- what binds us ----------------------------------------------------------------------------------------------

    def may_confirm(self) -> bool:
        """Whether we may say, and sign, how far we have verified the run that is followed."""
        run = self.run()
        return run is None or self.ballot.may_confirm(run)

    def has_voted_for_another(self) -> bool:
        """Whether we have promised a higher term than the run is in: nothing of it is answered until its leader is
        elected, or one in a higher term yet."""
        run = self.run()
        return run is not None and self.ballot.is_outvoted(run.position.run, run.position.term)

    def _has_voted(self, now: float) -> None:
        """What the leader before announced is not followed any more, and whom we have voted for has its time."""
        self.silence.waits_for(now)
        if self._followed.run is not None:
            self._followed.run.give_up()

    # -- hearing ----------------------------------------------------------------------------------------------------

    def hear(self, said: Announcement, now: float) -> bool:
        """Take what concerns elections, or shows that the leader lives. Whether nobody else need look at it."""
        self._heard[said.by] = now
        match said.body:
            case Canvass() | VoteAsked() as asked:
                self._followed.take_up(asked.position, said.by, now)
                self.ballot.asked(said.by, asked, now)
                return True
            case Canvassed() as told:
                self.ballot.reported(said.by, told, now)
                return True
            case Hello(position=position) | Beat(position=position) | Head(position=position):
                return position is not None and self._is_outvoted(said.by, position, now)
            case HandsOver(position, to):
                self._hands_over(said.by, position, to, now)
                return True
            case WarrantReady() as ready:
                if (warrant := self.ballot.warrants.heard(ready, said.blocks, now)) is not None:
                    self.warranted(warrant, now)
                return True
            case Bye():
                del self._heard[said.by]
                if (run := self.run()) is not None and run.leader == said.by:
                    self.silence.left()
            case _:
                pass
        return False

    def _is_outvoted(self, by: bytes, position: Position, now: float) -> bool:
        """Note the leader's sign of life, unless it leads in a lower term than we have promised: then tell it so."""
        run = self.run()
        if run is None or position.run != run.position.run or by != run.leader:
            return False
        if self.ballot.is_outvoted(position.run, position.term):
            self.ballot.tell_outvoted(by, position, run, now)
            return True
        if not self.ballot.may_confirm(run):
            self.ballot.tell_outvoted(by, position, run, now)
        if position.term >= run.position.term and not self._is_handed_over(position, now):
            self.silence.hears(now)
            self.leader_speaks()
        return False

    def catch_up_with(self, by: bytes, position: Position, now: float) -> None:
        """As `FollowedRun.catch_up_with`. What is looked for from now on has its time from now on, however long ago the
        newest record came."""
        run = self._followed.run
        was_idle = run is None or run.is_idle
        self._followed.catch_up_with(by, position, now)
        if run is not None and was_idle and not run.is_idle:
            self._came_to = run.chain.head, now

    def _hands_over(self, by: bytes, position: Position, to: bytes, now: float) -> None:
        """The leader of the run followed is heard no more, though it speaks, if that is who says it."""
        run = self.run()
        if run is None or by != run.leader or (position.run, position.term) != (run.position.run, run.position.term):
            return
        self._handed_over = position, now + HANDOVER_LASTS
        self.silence.left()
        self.catch_up_with(by, position, now)
        self.handed_over(by, to, now)

    def _is_handed_over(self, position: Position, now: float) -> bool:
        """Whether the leader has said that another is to lead after its term: that it speaks means nothing then."""
        if self._handed_over is None:
            return False
        handed, until = self._handed_over
        return (handed.run, handed.term) == (position.run, position.term) and now < until

    # -- time -------------------------------------------------------------------------------------------------------

    def begin(self, now: float) -> None:
        """We can be heard from now on."""
        self.ballot.begin(now)

    def settle(self, now: float) -> None:
        """The run may be another, or have come further."""
        run = self.run()
        if run is not None:
            self.silence.follow(run.position.run, run.leader, now)
        head = None if run is None else run.position.head
        if head != self._came_to[0]:
            self._came_to = head, now

    def due(self, now: float) -> None:
        """Ask what we may have forgotten, if we have to; and give up what a silent leader alone may have."""
        self.ballot.due(now)
        run = self._followed.run
        if run is None or run.chain.head is None or run.is_idle:
            return
        if now >= self.silence.ends and now >= self._came_to[1] + STUCK:
            self._came_to = self._came_to[0], now
            run.give_up()

    def moments(self) -> Iterator[float]:
        """When `due` has something to do."""
        yield from self.ballot.moments()
        run = self._followed.run
        if run is not None and run.chain.head is not None and not run.is_idle:
            yield max(self.silence.ends, self._came_to[1] + STUCK)

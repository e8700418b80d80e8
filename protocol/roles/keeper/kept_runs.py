"""The runs that a keeper follows, all of its federation's at once: heads heard, records verified and kept.

A keeper has no key of a run. So it checks a chain as anybody can, and leaves what is private to those that read it
(`docs/protocol.md`, section 6). Only a run's own leader says how far that is, as to a client.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from protocol.blocks.cid import CID
from protocol.chain.chain import Chain, Step
from protocol.pacing.backoff import SLOWEST_RETRY
from protocol.records.bodies import Chained, Member
from protocol.records.signed_records import WellSigned
from protocol.roles.catch_up import AHEAD, MAX_BEHIND, CatchUp, Fork, Forked, Lost, keep_step
from protocol.roles.effects import FetchRecord, What
from protocol.roles.keeper.keeper_states import KeeperState
from protocol.roles.keeper.kept_contents import KeptContents
from protocol.roles.leader.presence import silent_for
from protocol.roles.machine import Machine
from protocol.roles.unchecked_claims import UncheckedClaims
from protocol.votes.voter import rank
from protocol.wire.announcements import Announcement, Position

OPEN_RUNS_OF_ONE: Final = 64
"""Open runs of one server that are followed at a time. One that was silent for long makes room for another."""

UNCHECKED_RUNS: Final = 4
"""Runs of one server of which no record was had yet, and that are looked for side by side."""

BEHIND_OF_ONE: Final = MAX_BEHIND
"""Records of all runs of one server that are walked back at a time: they take memory for a CID each."""

HELD_OF_ONE_RUN: Final = 4 << 20
"""Bytes of fetched records of a run kept in memory: many are followed side by side."""

CLOSED_RUNS: Final = 4_096
"""Closed runs whose heads are remembered, so that nobody has us follow them again."""

INCOMPLETE_RUNS: Final = 256
"""Closed runs of which contents are missing, and looked for. Beyond them, those of the one that was spoken of first are
looked for again at the next start."""


@dataclass(frozen=True, slots=True)
class Remembered:
    """What earlier processes of this peer have kept."""

    unfinished: Mapping[CID, Position]
    """The newest heads of the runs that are open, or of which something is missing; the oldest first."""
    whole: Mapping[CID, Position]
    """The heads of those that are closed and all here; the oldest first."""
    well_signed: WellSigned


NOTHING: Final = Remembered({}, {}, frozenset())


@dataclass(slots=True)
class KeptRun:
    """A run that is followed."""

    verified: CatchUp
    spoken: float
    """When its leader said last how far it is."""
    fetching: set[CID] = field(default_factory=set)
    writing: int = 0
    """How many of its records are on their way to disk."""
    told_by: bytes | None = None
    """The server that told us of it, until its first record is here; None if a process before ours followed it."""
    claimants: set[bytes] = field(default_factory=set)
    """The servers whose word that they were elected is looked into."""
    hint: bytes | None = None
    """The member by whose word a newer head is looked for, if it is not the leader's."""

    @property
    def chain(self) -> Chain:
        """What is verified of it."""
        return self.verified.chain

    @property
    def run(self) -> CID:
        """Its id."""
        return self.verified.run

    @property
    def has_all_records(self) -> bool:
        """Whether it is closed, and each of its records is on disk."""
        return self.chain.closed and not self.writing


class KeptRuns:
    """Follows every run of the federation."""

    def __init__(self, remembered: Remembered, contents: KeptContents, machine: Machine[KeeperState]) -> None:
        self._machine = machine
        self._contents = contents
        self._outbox, self._newest, self._equivocations = machine.outbox, machine.newest, machine.equivocations
        self._remembered = remembered
        self._claims = UncheckedClaims(UNCHECKED_RUNS, SLOWEST_RETRY)
        self._hints = UncheckedClaims(1, SLOWEST_RETRY)
        self._elected = UncheckedClaims(1, SLOWEST_RETRY)
        """Heads in higher terms, announced by servers that do not lead the run as far as we know."""
        self._now = 0.0
        """When what is here was verified last."""
        self.forked: Callable[[KeptRun, Fork], None] = lambda _kept, _fork: None
        """Called when a takeover has led around what was kept of a run. The role sets it."""
        self._changed: dict[CID, None] = {}
        """The runs with which something is to be done."""
        self.followed: dict[CID, KeptRun] = {}
        self.whole: dict[CID, Position] = dict(remembered.whole)
        """The heads of closed runs that are all here."""

    def begin(self, now: float) -> None:
        """Go on with what earlier processes have left."""
        for run, position in self._remembered.unfinished.items():
            kept = self._follow(run, b"", now)
            kept.verified.hear(position, ())
            self._changed[run] = None

    # -- hearing ----------------------------------------------------------------------------------------------------

    def heard(self, server: Member, said: Announcement, position: Position, now: float) -> None:
        """A server says how far it is with a run that it leads."""
        whole, kept = self.whole.get(position.run), self.followed.get(position.run)
        if self._equivocations.distrust.proof_against(server) is not None:
            return
        if kept is None and whole is not None:
            self._follow_again(server.id, said, position, whole, now)
            return
        if kept is None:
            if not self._may_follow(server.id, now):
                return
            self._claims.open(server.id)
            kept = self._follow(position.run, server.id, now)
            kept.told_by = server.id
        if (ours := kept.verified.rival(position)) is not None:
            self._equivocations.compare(ours, position.head, said.blocks, now)
        if kept.verified.leader in (server.id, b""):
            kept.spoken = now
            kept.verified.hear(position, said.blocks)
            self._changed[position.run] = None
        elif kept.verified.may_claim(server.id, position) and self._elected.may_open(server.id, now):
            self._look_into(kept, server.id, said, position)

    def _follow_again(self, server: bytes, said: Announcement, position: Position, whole: Position, now: float) -> None:
        """Follow a closed run that is all here, if a server says that it was elected to lead it: nobody may have
        confirmed the close. It is verified again as it is, beside what that server says."""
        if position.term > whole.term and self._elected.may_open(server, now):
            kept = self._follow(position.run, b"", now)
            kept.verified.hear(whole, ())
            self._look_into(kept, server, said, position)

    def _look_into(self, kept: KeptRun, server: bytes, said: Announcement, position: Position) -> None:
        """Another server than the leader says that it leads a run, in a higher term."""
        self._elected.open(server)
        kept.claimants.add(server)
        kept.verified.claim(server, position, said.blocks)
        self._changed[position.run] = None

    def _claim_ended(self, kept: KeptRun, server: bytes, why: str) -> None:
        """What a server said of a higher term was looked into."""
        if server in kept.claimants:
            kept.claimants.discard(server)
            if why:
                self._elected.failed(server, self._now)
            else:
                self._elected.held(server)
        if why:
            name = self._newest.manifest.name_of(server)
            self._outbox.report(What.CLAIM_REFUSED, run=str(kept.run), name=name, why=why)

    def _forks(self, kept: KeptRun, fork: Fork) -> None:
        lost = fork.lost.height - fork.height
        self._outbox.report(What.RECORDS_LOST, run=str(kept.run), count=lost, height=fork.height)
        self.whole.pop(kept.run, None)
        self.forked(kept, fork)

    def hinted(self, member: Member, position: Position, now: float) -> None:
        """A member that does not lead a run says how far it has verified it. We may have been away when the run's
        leader said that last, and it may never be back. So if that is silent, this is looked into: only what the
        leader signed is kept, and a member that says what is not so waits longer each time."""
        kept = self.followed.get(position.run)
        known = None if kept is None else kept.verified.position
        if kept is None or known is None or rank(position) <= rank(known):
            return
        leader_is_here = now < self._machine.offline.ends(kept.spoken, silent_for(len(self._newest.manifest.members)))
        if leader_is_here or kept.hint is not None or not kept.verified.is_idle:
            return
        if self._hints.may_open(member.id, now):
            self._hints.open(member.id)
            kept.hint = member.id
            kept.verified.hear(position, ())
            self._changed[position.run] = None

    def _hint_held(self, kept: KeptRun) -> None:
        if kept.hint is not None:
            self._hints.held(kept.hint)
            kept.hint = None

    def _follow(self, run: CID, server: bytes, now: float) -> KeptRun:
        newest = self._newest
        chain = Chain(newest.manifest.federation, newest.author.reader, self._remembered.well_signed)
        verified = CatchUp(run, server, newest.manifest, newest.blocks, chain, HELD_OF_ONE_RUN)
        kept = KeptRun(verified, now)
        verified.forks, verified.ended = partial(self._forks, kept), partial(self._claim_ended, kept)
        self.followed[run] = kept
        return kept

    def _may_follow(self, server: bytes, now: float) -> bool:
        """Whether one more run of a server may be followed. A run that nobody speaks of makes room: it is on disk."""
        if not self._claims.may_open(server, now):
            return False
        begun = [kept for kept in self.followed.values() if kept.chain.head is not None]
        closed = [kept for kept in begun if kept.chain.closed]
        if len(closed) >= INCOMPLETE_RUNS:
            self._leave(min(closed, key=lambda kept: kept.spoken))
        theirs = [kept for kept in begun if kept.chain.by == server and not kept.chain.closed]
        if len(theirs) < OPEN_RUNS_OF_ONE:
            return True
        oldest = min(theirs, key=lambda kept: kept.spoken)
        if now < self._machine.offline.ends(oldest.spoken, silent_for(len(self._newest.manifest.members))):
            return False
        self._leave(oldest)
        return True

    def newest_of(self, run: CID) -> Position | None:
        """The newest head of a run that we have verified, or heard of."""
        kept = self.followed.get(run)
        return self.whole.get(run) if kept is None else kept.verified.newest

    # -- catching up ------------------------------------------------------------------------------------------------

    def steps(self, now: float) -> Iterator[tuple[KeptRun, Step, Mapping[CID, bytes]]]:
        """Verify and keep what is here, and fetch what is not: each record, and the blocks it was checked with."""
        while self._changed:
            run = next(iter(self._changed))
            del self._changed[run]
            if (kept := self.followed.get(run)) is not None:
                for step, blocks in self._steps_of(kept, now):
                    yield kept, step, blocks

    def _steps_of(self, kept: KeptRun, now: float) -> Iterator[tuple[Step, Mapping[CID, bytes]]]:
        kept.verified.manifest, self._now = self._newest.manifest, now
        try:
            for step, blocks in kept.verified.steps():
                if step.height == 0:
                    self._has_begun(kept)
                elif step.took_over:
                    kept.spoken = now
                    name = self._newest.manifest.name_of(kept.chain.by)
                    self._outbox.report(What.LEADER_CHANGED, run=str(kept.run), name=name, term=kept.chain.term)
                kept.writing += 1
                moves_head = not self._was_on_disk(kept)
                keep_step(self._outbox, kept.run, step, blocks, partial(self._is_on_disk, kept), moves_head=moves_head)
                yield step, blocks
            if kept.verified.is_idle:
                self._hint_held(kept)
        except Lost as error:
            if isinstance(error, Forked):
                self._equivocations.compare(error.ours, error.theirs, (), now)
            self._outbox.report(What.RUN_LOST, run=str(kept.run), why=str(error))
            self._give_up(kept, now)
            return
        if self._is_too_far_behind(kept):
            self._outbox.report(
                What.RUN_LOST, run=str(kept.run), why="its server has us catch up with too much at once"
            )
            self._give_up(kept, now)
        for cid in kept.verified.wanted():
            if cid not in kept.fetching:
                kept.fetching.add(cid)
                here, not_here = partial(self._here, kept, cid), partial(self._not_here, kept, cid)
                self._outbox.ask(FetchRecord, here, not_here, cid, Chained)

    def _is_too_far_behind(self, kept: KeptRun) -> bool:
        """Whether the walk back of this run is more than its server has left, with those of its other runs."""
        runs = self.followed.values()
        theirs = (each.verified.records_between for each in runs if each.verified.leader == kept.verified.leader)
        return kept.verified.records_between > AHEAD and sum(theirs) > BEHIND_OF_ONE

    def _was_on_disk(self, kept: KeptRun) -> bool:
        """Whether the run had been verified up to here or further before: its head on disk stays."""
        known, chain = self.whole.get(kept.run) or self._remembered.unfinished.get(kept.run), kept.chain
        return known is not None and chain.height <= known.height and chain.term <= known.term

    def _is_on_disk(self, kept: KeptRun, now: float) -> None:
        kept.writing -= 1

    def _has_begun(self, kept: KeptRun) -> None:
        if kept.told_by is not None:
            self._claims.held(kept.told_by)
            kept.told_by = None
        self._outbox.report(What.RUN_KEPT, run=str(kept.run), name=self._newest.manifest.name_of(kept.chain.by))

    def _here(self, kept: KeptRun, cid: CID, blocks: Mapping[CID, bytes], now: float) -> None:
        kept.fetching.discard(cid)
        kept.verified.fetched(cid, blocks)
        self._changed[kept.run] = None

    def _not_here(self, kept: KeptRun, cid: CID, why: str, now: float) -> None:
        kept.fetching.discard(cid)
        self._outbox.report(What.FETCH_FAILED, cid=str(cid), why=why)
        self._now = now
        if kept.verified.not_fetched(cid, why):
            self._give_up(kept, now)

    def _give_up(self, kept: KeptRun, now: float) -> None:
        """Wait for its leader to speak of it again. A run of which nothing could be had is forgotten."""
        kept.verified.give_up()
        if kept.hint is not None:
            self._hints.failed(kept.hint, now)
            kept.hint = None
        if kept.chain.head is None and self.followed.get(kept.run) is kept:
            self._leave(kept)
            if kept.told_by is not None:
                self._claims.failed(kept.told_by, now)

    # -- the end ----------------------------------------------------------------------------------------------------

    def _leave(self, kept: KeptRun) -> None:
        for claimant in kept.claimants:
            self._elected.held(claimant)
        kept.claimants.clear()
        self._changed.pop(kept.run, None)
        self._hint_held(kept)
        del self.followed[kept.run]
        self._contents.forget(kept.run)

    def is_whole(self, kept: KeptRun) -> None:
        """A closed run is all here, and need not be followed any more."""
        chain = kept.chain
        assert chain.head is not None
        self._leave(kept)
        self.whole[kept.run] = Position(kept.run, chain.head, chain.height, chain.term)
        if len(self.whole) > CLOSED_RUNS:
            del self.whole[next(iter(self.whole))]

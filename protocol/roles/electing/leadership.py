"""Whether we still lead the run that we lead: what voters say of that, and a term above theirs if they need one."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from protocol.blocks.cid import CID
from protocol.records.bodies import Warrant
from protocol.roles.effects import KeepWatched, What
from protocol.roles.electing.ballot import Ballot
from protocol.roles.electing.handing_over import HandingOver
from protocol.roles.electing.standing import Standing, Wins
from protocol.roles.electing.takeover_chance import TakeoverChance
from protocol.roles.electing.voted_run import NewestVotedRun, VotedRun
from protocol.roles.electing.voters_here import VotersHere
from protocol.roles.leader.leader_states import LeaderState
from protocol.roles.leader.record_writer import RecordWriter
from protocol.roles.leader.run_plan import FIRST_TERM
from protocol.roles.machine import Machine
from protocol.status.takeover_status import TakeoverLack, TakeoverStatus
from protocol.votes.silence import LEADER_BEAT
from protocol.wire.announcements import (
    AckReady,
    Announcement,
    Beat,
    Bye,
    Canvass,
    Canvassed,
    Hello,
    Position,
    ReplyReady,
    VoteAsked,
    VoteReady,
    WarrantReady,
)


class Leadership:
    """A leader's part in elections."""

    def __init__(
        self,
        remembers: Callable[[CID], bool],
        standbys: Callable[[], tuple[bytes, ...]],
        looks_into: Callable[[bytes, Position, float], None],
        writer: RecordWriter,
        machine: Machine[LeaderState],
        *,
        had_standby: bool = False,
    ) -> None:
        """``remembers(run)`` is whether this home has forgotten nothing that it signed in a run; ``standbys()`` are the
        other servers that follow it; ``looks_into(by, position, now)`` is called with a head that a voter has and we
        lack; ``had_standby`` is whether a standby was heard by an earlier process of ours."""
        self._had_standby = had_standby
        self._standbys = standbys
        self._writer = writer
        self._newest_run = NewestVotedRun()
        self._machine = machine
        self.voters = VotersHere(self.run, machine)
        self.handing_over = handing_over = HandingOver(self.run, self._is_still, machine)
        self._ballot = Ballot(self.run, lambda _now: not handing_over.is_under_way, remembers, machine)
        self._chance = TakeoverChance(self.takeover, machine.outbox)
        self._looks_into = looks_into
        self._standing = Standing(self.run, self._ballot, self._over, looks_into, machine)
        self._standing.promised = self._promised

    def wins(self, then: Wins) -> None:
        """``then`` is called when a majority has voted for us again."""
        self._standing.wins = then

    def run(self) -> VotedRun | None:
        """Our run, up to the newest record that is on disk."""
        durable = self._writer.durable
        return None if durable is None else self._newest_run.of(self._writer.chain, durable)

    # -- what follows -----------------------------------------------------------------------------------------------

    def is_outvoted(self, term: int) -> bool:
        """Whether we have promised a higher term than this one of our run: no majority may follow in it."""
        return self._ballot.is_outvoted(self._writer.chain.run, term)

    def may_append(self, now: float) -> bool:
        """Whether a record may be appended. Not while too few voters follow us, nor after a promise of ours above our
        term, nor while we stand again: the votes name the newest record."""
        run = self.run()
        if run is None:
            return True
        if self.handing_over.is_under_way:
            return False
        if self._standing.candidacy is not None or self.is_outvoted(run.position.term):
            return False
        return self.voters.may_go_on(now)

    def _is_still(self) -> bool:
        """Whether we lead, and no record is on its way to disk."""
        return self._machine.state is LeaderState.LEADING and self._is_all_on_disk()

    def _is_all_on_disk(self) -> bool:
        run = self.run()
        return run is not None and run.position.head == self._writer.chain.head

    def _over(self) -> float | None:
        """From when on we may stand again: at once, if a voter has left our term behind and no record is on its way."""
        run = self.run()
        if run is None or not self._is_still() or self.handing_over.is_under_way:
            return None
        return 0.0 if self.is_outvoted(run.position.term) or self.voters.outvoted_by(run) is not None else None

    def _promised(self) -> int:
        """Where to a voter would have us go. Its word is fresh: what it has said before may be overtaken."""
        run = self.run()
        return 0 if run is None else self.voters.outvoted_by(run) or 0

    def has_settled(self) -> bool:
        """Whether no takeover can lose the newest record. Without a standby nobody else could lead."""
        run = self.run()
        return run is None or not self.voters.is_watched or self.voters.has_settled(run)

    def may_bring_roster(self) -> bool:
        """Whether another manifest may come into force: not while the roster before changed who votes, and is not
        settled. Then it could be lost, and a takeover from before it need not share a voter with one after two.

        Without a standby nobody else could lead, and a leader whose clients are away goes on alone."""
        run = self.run()
        return run is None or not self.voters.is_watched or self.voters.has_settled_roster(run)

    def has_settled_change(self) -> bool:
        """Whether the newest roster changed who votes, and is settled: another one may say so to who reads the chain,
        and then the voters before have no say in takeovers any more (in Raft, the entry for the new members alone)."""
        run = self.run()
        if run is None or not run.voters_before or not self.voters.is_watched:
            return False
        return self.voters.has_settled_roster(run)

    def takeover(self, now: float) -> TakeoverStatus | None:
        """Whether another server could take our run over; None if it is closed, or there is none."""
        run, newest = self.run(), self._machine.newest
        if run is None or run.is_closed:
            return None
        electorate, ours = run.electorate(newest.manifest), newest.author.member
        here = self.voters.following(run, now) - {ours} if self.voters.is_watched else frozenset()
        lack = None
        if electorate.candidates <= {ours}:
            lack = TakeoverLack.OTHER_SERVER
        elif not self._standbys():
            lack = TakeoverLack.STANDBY
        elif not electorate.is_majority(here):
            lack = TakeoverLack.VOTERS
        return TakeoverStatus(lack, *electorate.count(here))

    # -- hearing ----------------------------------------------------------------------------------------------------

    def hear(self, said: Announcement, now: float) -> bool:
        """Take what a member says. Whether it is of elections alone."""
        match said.body:
            case Canvass() | VoteAsked() as asked:
                if self._is_all_on_disk():  # a vote names the newest record on disk, and rules out one after it
                    self._ballot.asked(said.by, asked, now)
            case Canvassed() as told:
                self.voters.told(said.by, told, now)
                self._ballot.reported(said.by, told, now)
                self._standing.canvassed(said.by, told, now)
            case VoteReady() as ready:
                self._standing.voted(said.by, ready, said.blocks, now)
            case WarrantReady() as ready:
                self._warranted(self._ballot.warrants.heard(ready, said.blocks, now), now)
            case Hello(position=position) | Beat(position=position):
                self.voters.confirms(said.by, position, now)
                self._look_into(said.by, position, now)
                return False
            case ReplyReady() | AckReady():
                self.voters.heard(said.by, now)
                return False
            case Bye():
                self.voters.left(said.by)
                return False
            case _:
                return False
        return True

    def _look_into(self, by: bytes, position: Position | None, now: float) -> None:
        """A member says how far it has verified a run. If a voter has come to a higher term of ours, another was
        elected while we were away, and is away itself by now: nobody else would tell us of it."""
        run = self.run()
        if run is None or position is None or position.term <= run.position.term:
            return
        if by in run.electorate(self._machine.newest.manifest).all:
            self._looks_into(by, position, now)

    def _warranted(self, warrant: Warrant | None, now: float) -> None:
        """An admin wants another server to lead: have it elected, as if our owner wanted it."""
        run, newest = self.run(), self._machine.newest.manifest
        if warrant is None or run is None:
            return
        by, name = newest.name_of_key(warrant.by), newest.name_of(warrant.candidate)
        self._machine.outbox.report(What.TO_HAND_OVER, run=str(run.position.run), by=by, name=name)
        self.handing_over.begin(warrant.candidate, now)

    def settle(self, now: float) -> None:
        """What was heard may change what we do."""
        if (run := self.run()) is not None and not self.voters.is_watched and self._standbys():
            self._is_watched(now)
            self._machine.outbox.emit(KeepWatched(run.position.run))
            self._machine.announcer.beat_soon(now)
        self.handing_over.due(now)
        if not self.handing_over.is_under_way:  # else they follow us no more because we want that
            self.voters.tell(now)
        self._chance.tell(now)
        self._standing.due(now)

    # -- time -------------------------------------------------------------------------------------------------------

    def begin(self, now: float) -> None:
        """We can be heard from now on."""
        self._ballot.begin(now)
        self.go_on(now)

    def go_on(self, now: float) -> None:
        """We go on with a run. If a standby was heard in it before, or it was led in another term, another may lead it
        by now, though we hear nobody."""
        run = self.run()
        if run is None or run.is_closed or run.electorate(self._machine.newest.manifest).candidates <= {self._ours}:
            return
        if self._had_standby or run.position.term > FIRST_TERM:
            self._is_watched(now)

    @property
    def _ours(self) -> bytes:
        return self._machine.newest.author.member

    def _is_watched(self, now: float) -> None:
        self.voters.stands_by(now)
        self._machine.announcer.beats_every = LEADER_BEAT

    def due(self, now: float) -> None:
        """Ask what we may have forgotten, if we have to, and see whether we still lead."""
        self._ballot.due(now)
        self.settle(now)

    def moments(self) -> Iterator[float]:
        """When something is due."""
        yield from self._ballot.moments()
        yield from self._standing.moments()
        yield from self.handing_over.moments()
        if not self.handing_over.is_under_way:  # as long as it is, `settle` does not look at who is silent
            yield from self.voters.moments()
        yield from self._chance.moments()

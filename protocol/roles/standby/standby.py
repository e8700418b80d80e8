"""The standby role: a server that follows a run which another one leads, and replays it as it goes on.

It speaks where the leader alone listens, as clients do: nobody takes it for a leader. The table says which event may
come when, and which part takes it.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping

from protocol.app.calls import AppReady, Examined
from protocol.blocks.cid import CID, Block
from protocol.chain.chain import Chain, Step
from protocol.federation.manifest import node_id
from protocol.records.bodies import Ack, Close, Role, Roster, Run, Takeover
from protocol.records.signed_records import parse_record
from protocol.roles.catch_up import CatchUp, Fork
from protocol.roles.effects import Effect, PinRun, Stop, StopCause, What
from protocol.roles.electing.standing import Standing
from protocol.roles.electing.takeover_chance import TakeoverChance
from protocol.roles.events import AppCalled, AppLost, AppsApproved, Due, Event, Started, Stopping, ToClose, ToHandOver
from protocol.roles.following.app_approval import AppApproval
from protocol.roles.following.followed_run import NOTHING, FollowedRun, Verified
from protocol.roles.following.follower_states import FollowerState, Turn
from protocol.roles.following.heard_leaders import HeardLeaders
from protocol.roles.following.heard_witnesses import HeardWitnesses
from protocol.roles.following.laid_down import LaidDown
from protocol.roles.following.members_here import MembersHere
from protocol.roles.following.taking_part import TakingPart
from protocol.roles.following.told_acks import ToldAcks
from protocol.roles.following.voting import Voting
from protocol.roles.leader.leader_states import LeaderState
from protocol.roles.leader.run_plan import ResumedRun, TermStart, WonTerm, recorded_plan
from protocol.roles.machine import CommonParts, Machine
from protocol.roles.newest_manifest import Author, TrustedManifest
from protocol.roles.server.succession import HeardReply, Succession
from protocol.roles.standby.early_contents import EarlyContents
from protocol.roles.standby.forgotten_acks import ForgottenAcks
from protocol.roles.standby.own_acks import OwnAcks
from protocol.roles.standby.replaying import Replaying
from protocol.roles.standby.standby_plan import SignedAcks, StandbyPlan
from protocol.roles.state_table import StateTable, ignored, on, turn
from protocol.status.standby_status import StandbyStatus
from protocol.status.takeover_status import TakeoverLack, TakeoverStatus
from protocol.wire.announcements import (
    AckReady,
    Announcement,
    Beat,
    Canvassed,
    Hello,
    PeerState,
    Proof,
    Recalled,
    ReplyReady,
    VoteReady,
    topic_leader,
)


class Standby:
    """The state machine of a server peer that does not lead."""

    handle: Callable[[Event, float], list[Effect]]
    """As `Machine.handle`."""

    def __init__(
        self,
        author: Author,
        trusted: TrustedManifest,
        plan: StandbyPlan,
        kept: Mapping[CID, SignedAcks],
        verified: Verified = NOTHING,
        parts: CommonParts | None = None,
    ) -> None:
        """``kept`` is what earlier processes of this peer have signed, by run; ``verified`` what they verified.
        ``parts`` are those of the role before, if the member had another."""
        topic = topic_leader(trusted.manifest.federation)
        parts = parts or CommonParts(author, trusted, Role.SERVER)
        self.machine = machine = Machine[FollowerState](parts, topic)
        self.kept = kept = defaultdict(SignedAcks, kept)
        self._plan = plan
        self._part = part = TakingPart(machine)
        self._servers = servers = MembersHere(machine)
        self._followed = followed = FollowedRun(verified, servers, machine)
        self._leaders = leaders = HeardLeaders(part, servers, followed, machine)
        self._witnesses = witnesses = HeardWitnesses(lambda run: kept[run].disputes, part, machine)
        self._laid_down = laid_down = LaidDown(followed, witnesses, machine)
        self._voting = voting = Voting(followed, laid_down, plan.remembers, machine, plan.least_silence)
        self._standing = Standing(voting.run, voting.ballot, self._may_stand_from, voting.catch_up_with, machine)
        self._chance = TakeoverChance(self.takeover, machine.outbox)
        self._standing.wins, self._standing.is_up = self._wins, lambda: self.is_up()
        voting.leader_speaks = self._standing.leader_speaks
        voting.handed_over, voting.warranted = self._standing.handed_over, self._standing.warranted
        self._forgotten = forgotten = ForgottenAcks(kept, plan.remembers, servers, followed, machine)
        self._told = told = ToldAcks(machine)
        told.is_kept, told.beside = self._is_signed, self._words
        self._acks = acks = OwnAcks(kept, forgotten, told, followed, machine)
        self._early = early = EarlyContents(machine)
        self._replaying = replaying = Replaying(plan, acks, early, machine)
        replaying.is_left = lambda run: run.chain.closed and run.leader not in servers.here
        self._app = app = AppApproval(plan, part, replaying, machine)
        self._is_leaving = False
        """Whether the close of the run followed is acked, or will not be."""
        self.contradicted = False
        """Whether it has computed something else than a leader recorded."""
        self._replies: dict[bytes, HeardReply] = {}
        """What clients have said of their answers to messages that are open, by message."""
        self.won: WonTerm | None = None
        """A term that a majority has voted for: it leads the run from now on, if that has come no further."""
        self.looks_again: float | None = None
        """When it is to be looked at again if it should lead."""
        told.is_awaited, told.is_for_all = self._is_awaited, self._is_witness
        followed.holds = lambda: machine.state is FollowerState.FOLLOWING
        self._status = status = StandbyStatus(
            part, servers, voting, followed, forgotten, app, replaying, self.takeover, machine
        )
        leaders.begins, leaders.leaves = self._leave, self._leave
        followed.forked = self._forked
        forgotten.is_contradicted = lambda run: (
            witnesses.contradiction(run) is not None or (acks.contradicts and run.leader not in servers.here)
        )
        machine.wire(
            self._table(),
            moments=self._moments,
            said=self._said,
            present=self._present,
            distrusts=leaders.distrusts,
            status=status.at,
        )
        self.handle = machine.handle

    def _table(self) -> StateTable[FollowerState]:
        new, listening, following, stopped = FollowerState
        always = [
            *self.machine.common(),
            on(AppReady, self._replaying.ready),
            on(AppCalled, self._replaying.called),
            on(AppLost, self._replaying.lost),
            on(AppsApproved, self._app.approve),
            on(Due, self._due),
            on(Stopping, self._say_bye, stopped),
            on(Examined, self.machine.outbox.answered),  # what the leader that we were had asked for
            on(ToClose, self._stand_by_no_more),
            ignored(ToHandOver),  # another leads by now
            turn(Turn.LISTENS, listening),
            turn(Turn.STOPS, stopped),
        ]
        return StateTable(
            new,
            stopped,
            {
                new: [on(Started, self._start, listening), turn(Turn.SUCCEEDS, listening)],
                listening: [*always, turn(Turn.FOLLOWS, following)],
                following: [*always],
                stopped: [],
            },
            settle={listening: self._settle, following: self._settle},
        )

    # -- time -------------------------------------------------------------------------------------------------------

    def _start(self, event: Started, now: float) -> None:
        if (run := self._plan.run) is not None:
            self._followed.begin(run.position, run.leader)
        self._voting.begin(now)
        self._keep_saying(now)

    def succeed(self, before: Machine[LeaderState], now: float) -> list[Effect]:
        """Stand by in the plan's run, which we led, or in any if there is none.

        Returns the effects; everything else comes from `handle`."""

        def begin(now: float) -> None:
            if (run := self._plan.run) is not None:
                self._followed.begin(run.position, run.leader, run.announced, told=True)
            self.machine.announcer.say(Hello, now)
            self.machine.take(Turn.SUCCEEDS)

        return self.machine.succeed(before, begin, now)

    def _due(self, event: Due, now: float) -> None:
        self._keep_saying(now)
        self._told.announce(now)
        self._replaying.due(now)
        self._app.due(now)
        self._voting.due(now)

    def _keep_saying(self, now: float) -> None:
        self._servers.due(now)
        self.machine.keep_saying(now)

    def _moments(self) -> Iterator[float]:
        if self.looks_again is not None:
            yield self.looks_again
        yield from self._servers.moments()
        yield from self._told.moments()
        yield from self._forgotten.moments()
        yield from self._replaying.moments()
        yield from self._app.moments()
        yield from self._voting.moments()
        yield from self._standing.moments()
        yield from self._chance.moments()

    def _settle(self, now: float) -> None:
        """Do what has become possible, and tell what is waited for."""
        if (run := self._followed.run) is not None:
            for step in self._followed.steps(run, now):
                self._stepped(run, step, now)
            self._laid_down.go_on(run, now)
            self._voting.settle(now)
            self._forgotten.ask(now)
            self._replaying.go_on(now)
            self._standing.due(now)
            self._acks.sign(run)
            if run.chain.closed:
                self._end(run, now)
            elif run.caught_up:
                self._app.decline_unread(run, now)
        self._chance.tell(now)  # of a run that was left, nothing is to be told any more
        if self.machine.state is not FollowerState.STOPPED:
            self.machine.outbox.tell_wait(self._status.awaited(), self.machine.newest.manifest.version, now)

    def _is_witness(self) -> bool:
        """Whether all members want to know what we make of the run: it needs witnesses."""
        return self._followed.run is not None and self._followed.run.chain.witnesses_needed > 0

    def _is_signed(self, id: CID, ack: Block, now: float) -> None:
        """Our own word is on disk."""
        if isinstance(body := parse_record(ack).body, Ack):
            self.kept[id].keep(body, ack)
        if (run := self._followed.run) is not None and run.run == id:
            self._witnesses.signed(ack, run, now)

    def _words(self) -> tuple[Block, ...]:
        """The words against the leader, for members that lack some."""
        agreed = self._laid_down.agreed()
        return () if agreed is None else agreed.words

    def _is_awaited(self) -> bool:
        """Whether clients wait for us to say what we recomputed, before they train, or voters have to know that most
        servers contradict the leader."""
        run = self._followed.run
        if self._laid_down.agreed() is not None:
            return True
        return run is not None and self._is_witness() and bool(run.chain.open) and not run.chain.closed

    # -- hearing and saying -----------------------------------------------------------------------------------------

    def _said(self, said: Announcement, now: float) -> bool:
        """Whether it may change anything for us: what a leader says, and what members show of each other."""
        if isinstance(said.body, Hello):  # whoever has come waits for our word, and may have missed it
            self._told.announce_soon(now)
            self._told.announce(now)
        if isinstance(said.body, Canvassed):
            self._standing.canvassed(said.by, said.body, now)
        if self._voting.hear(said, now):
            return True
        match said.body:
            case Recalled() as told:
                self._forgotten.heard(said, told)
                return told.to == self.machine.newest.author.member
            case Proof() as proof:
                self.machine.equivocations.heard(proof, said.blocks, now)
            case VoteReady() as ready:
                self._standing.voted(said.by, ready, said.blocks, now)
                return True
            case AckReady() as ready if (run := self._followed.run) is not None:
                return self._witnesses.heard(said.by, ready, said.blocks, run, now)
            case ReplyReady() as ready:
                return self._note_reply(HeardReply(said.by, ready, said.blocks), now)
            case _ if (server := self._leaders.author_of(said)) is not None:
                self._leaders.heard(server, said, now)
            case _:
                return False
        self._forgotten.ask_soon(said.by, now)
        return True

    def _present(self, kind: type[Hello] | type[Beat]) -> Hello | Beat:
        note = self._part.note
        state = PeerState.REFUSED if note else PeerState.IDLE if self._followed.run is None else PeerState.WORKING
        return kind(self.machine.newest.ref, state, self._followed.confirmed, note)

    def _stand_by_no_more(self, event: ToClose, now: float) -> None:
        """Its owner wants a run closed that we led, and another server leads now: that server alone can close it."""
        self.machine.outbox.cannot_go_on("another server leads the run", now, StopCause.OWNER)

    def _say_bye(self, event: Stopping, now: float) -> None:
        self.machine.say_goodbye()

    def _note_reply(self, heard: HeardReply, now: float) -> bool:
        """A client has an answer to an open message of the run followed: whoever leads next need not wait for it, and
        its content can come meanwhile. Whether that changes anything now."""
        run = self._followed.run
        asked = None if run is None or run.run != heard.ready.run else run.chain.open.get(heard.ready.message)
        if asked is not None and asked.node == node_id(heard.by):
            self._replies[heard.ready.message] = heard
        if run is None or asked is None or not self.takes_part:
            return False
        self._early.heard(heard, run, now)
        return True

    # -- leading ----------------------------------------------------------------------------------------------------

    @property
    def chain(self) -> Chain | None:
        """Of the run followed."""
        return None if self._followed.run is None else self._followed.run.chain

    @property
    def run(self) -> CatchUp | None:
        """The run followed."""
        return self._followed.run

    @property
    def takes_part(self) -> bool:
        """Whether it stands by in a run."""
        return self.machine.state is FollowerState.FOLLOWING

    def why_not_lead(self) -> str:
        """Why it cannot lead the run that is followed; empty if it can, once a majority votes for that."""
        run = self._followed.run
        if run is None or not run.caught_up or not self.takes_part or self._app.wanted_app is None:
            return "it follows no run whose newest record is here"
        if run.chain.closed:
            return "the run is closed"
        if not self.machine.copies.may_sign:
            return "another process may have this key"
        return self._replaying.why_not_lead()

    def is_up(self) -> bool:
        """Whether its app could lead at once. If not, another server may go first."""
        return self._replaying.keeps_up

    def takeover(self, now: float) -> TakeoverStatus | None:
        """Whether we could take the run over that we follow; None if it is closed, or there is none."""
        run = self._voting.run()
        if run is None or run.is_closed:
            return None
        electorate = run.electorate(self.machine.newest.manifest)
        here, why, lack = self._voting.voters_here(run, now), self.why_not_lead(), None
        if why:
            lack = TakeoverLack.FITNESS
        elif not electorate.is_majority(here):
            lack = TakeoverLack.VOTERS
        return TakeoverStatus(lack, *electorate.count(here), why)

    def _may_stand_from(self) -> float | None:
        """From when on it may stand for the run that it follows; None if it could not lead it. If most servers
        contradict its leader, nobody waits for that to be silent."""
        if self.why_not_lead():
            return None
        if (agreed := self._laid_down.agreed()) is not None:
            return self._laid_down.since if self.machine.newest.author.member in agreed.by else None
        return -math.inf if self._standing.is_warranted else self._voting.silence.over

    def _wins(self, won: WonTerm, now: float) -> None:
        self.won = won
        if (run := self._followed.run) is not None and run.chain.head == won.head:
            run.give_up()  # what else somebody says there is of it counts no more, and nobody may have that

    def succession(self) -> Succession | None:
        """With what the run followed is led in the term that we have won; None if there is none, or it cannot be led:
        the run has come further meanwhile, say."""
        run, wanted, won = self._followed.run, self._app.wanted_app, self.won
        if won is None or run is None or wanted is None or run.chain.head != won.head or self.why_not_lead():
            return None
        records, open = self._replaying.records, run.chain.open
        starts: list[TermStart] = []
        for each in records:
            if not starts or starts[-1].term != each.term:
                starts.append(TermStart(each.height, each.term))
        resumed = ResumedRun(run.chain, [each.cid for each in records], terms=starts)
        seed, node_config = self._replaying.seed, self._plan.node_config
        plan = recorded_plan(wanted.body, wanted.private, run.chain.keys, seed, node_config, elsewhere=True)
        replies = [heard for message, heard in self._replies.items() if message in open]
        return Succession(resumed, plan, won, self._replaying.hand_over(), replies)

    # -- the run ----------------------------------------------------------------------------------------------------

    def _stepped(self, run: CatchUp, step: Step, now: float) -> None:
        """One more record of the run is verified."""
        if isinstance(step.record.body, Run):
            self._replaying.begin()
            self._forgotten.begin()
            self._is_leaving = False
            self._replies.clear()
            self._early.begin()
        self._witnesses.stepped(run, step, now)
        for answer in step.answered:
            self._replies.pop(answer.message.id, None)
            self._early.answered(answer.message.id)
        self._replaying.stepped(step, run)
        match step.record.body:
            case Run() as body:
                self._app.read(run, body, now)
                self._acks.tell_again(run.run, now)
                self.machine.announcer.beat_soon(now)  # so that the leader knows that we follow its run
            case Roster():
                self._app.read_again(run, now)
            case Takeover() as body:
                self._told.fork(step.height - 1, body.term)
                self._forgotten.begin()
                self._told.announce_again(now)
                self.machine.announcer.beat_soon(now)
            case Close() as body:
                self._followed.tell_closed(run, body)
            case _:
                pass

    def _forked(self, run: CatchUp, fork: Fork, now: float) -> None:
        """The newest records that we had verified are lost."""
        if fork.height < 0:
            self._part.begin()
            self._leave()
        else:
            self._replies = {id: heard for id, heard in self._replies.items() if id in run.chain.open}
            self._witnesses.fork(fork.height)
            if fork.against is None:  # else the words against it are waited for
                self._told.fork(fork.height)
            self._replaying.fork(fork.height)

    def _end(self, run: CatchUp, now: float) -> None:
        """The run is closed. Once it is replayed: sign what we have found, keep it whole, and leave it."""
        follows, last = self.machine.state is FollowerState.FOLLOWING, self._replaying.newest
        if self._is_leaving or last is None or self._app.is_unapproved or (follows and not self._replaying.is_over):
            return
        self._acks.confirm_verified(last)
        self._acks.sign(run)
        if why := self._acks.why_never(run, leader_is_here=run.leader in self._servers.here):
            self.machine.outbox.report(What.NOT_SIGNED, run=str(run.run), why=why)
        elif not self._acks.are_kept:
            return
        self._is_leaving = True
        self.machine.announcer.say(Beat, now)
        if follows:
            may_lack = run.chain.shows_disputed
            self.machine.outbox.ask(PinRun, self._is_whole, self._is_not_whole, last.cid, may_lack)

    def _is_not_whole(self, why: str, now: float) -> None:
        self.machine.outbox.report(What.FETCH_FAILED, why=why)
        self._is_whole(now)

    def _is_whole(self, now: float) -> None:
        """Nothing is left to do for the run."""
        if self.machine.state is not FollowerState.FOLLOWING:
            return
        self.contradicted = self.contradicted or self._replaying.told.contradicted is not None
        self.machine.take(Turn.LISTENS)
        self._leave()
        if self._plan.once and not self._followed.was_over:
            self._say_bye(Stopping(), now)
            self.machine.take(Turn.STOPS)
            self.machine.outbox.emit(Stop(""))

    def _leave(self) -> None:
        """Nothing of the run before is to be replayed any more."""
        self._acks.leave()
        self._app.leave()

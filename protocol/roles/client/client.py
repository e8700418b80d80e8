"""The client role: follows runs, answers their messages, and announces each reply until it is collected.

The table says which event may come when, and which part takes it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from functools import partial

from protocol.app.calls import Answered, AppReady
from protocol.blocks.cid import CID
from protocol.chain.chain import Step
from protocol.federation.manifest import node_id
from protocol.records.bodies import Body, Close, Index, Role, Roster, Run, Takeover
from protocol.roles.catch_up import CatchUp, Fork
from protocol.roles.client.answering import Answering
from protocol.roles.client.app_process import AppProcess
from protocol.roles.client.client_plan import ClientPlan
from protocol.roles.client.forgotten_replies import ForgottenReplies
from protocol.roles.client.kept_run import KeptRun
from protocol.roles.client.owed_replies import OwedReplies
from protocol.roles.client.own_acks import OwnAcks
from protocol.roles.effects import Effect, Stop
from protocol.roles.events import AppLost, AppsApproved, Due, Event, Started, Stopping
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
from protocol.roles.machine import CommonParts, Machine
from protocol.roles.newest_manifest import Author, TrustedManifest
from protocol.roles.state_table import StateTable, on, turn
from protocol.roles.waiting import Awaited
from protocol.status.client_status import ClientStatus
from protocol.wire.announcements import (
    AckReady,
    Announcement,
    Beat,
    Hello,
    PeerState,
    Proof,
    ProposalReady,
    Recalled,
    topic_leader,
)


class Client:
    """The state machine of a client peer."""

    handle: Callable[[Event, float], list[Effect]]
    """As `Machine.handle`."""

    def __init__(
        self,
        author: Author,
        trusted: TrustedManifest,
        plan: ClientPlan,
        kept: Mapping[CID, KeptRun],
        verified: Verified = NOTHING,
    ) -> None:
        """``kept`` is what earlier processes of this peer have kept, by run; ``verified`` what they verified."""
        topic = topic_leader(trusted.manifest.federation)
        self.machine = machine = Machine[FollowerState](CommonParts(author, trusted, Role.CLIENT), topic)
        kept = defaultdict(KeptRun, kept)
        self._plan = plan
        self._node = node_id(author.member)
        self._part = part = TakingPart(machine)
        self._servers = servers = MembersHere(machine)
        self._followed = followed = FollowedRun(verified, servers, machine)
        self._leaders = leaders = HeardLeaders(part, servers, followed, machine)
        self._replies = replies = OwedReplies(kept, machine)
        self._forgotten = forgotten = ForgottenReplies(kept, servers, followed, replies, machine)
        self._told = told = ToldAcks(machine)
        self._acks = acks = OwnAcks(kept, plan.remembers, forgotten, told, followed, machine)
        self._process = process = AppProcess(plan, machine)
        self._app = AppApproval(plan, part, process, machine)
        self._witnesses = witnesses = HeardWitnesses(lambda run: kept[run].disputes, part, machine)
        self._laid_down = laid_down = LaidDown(followed, witnesses, machine)
        self._voting = Voting(followed, laid_down, plan.remembers, machine)
        self._answering = Answering(plan.secret, kept, replies, forgotten, acks, witnesses, process, machine)
        self._closing: tuple[CatchUp, bool] | None = None
        """A closed run that is to be acked, and whether we leave then."""
        self._status = ClientStatus(
            part, servers, self._voting, followed, forgotten, self._app, replies, witnesses, self._answering, machine
        )
        leaders.begins, leaders.leaves = self._turn_to_another, self._leave
        followed.forked = self._forked
        machine.wire(
            self._table(),
            moments=self._moments,
            said=self._said,
            present=self._present,
            distrusts=leaders.distrusts,
            status=self._status.at,
        )
        self.handle = machine.handle

    def _table(self) -> StateTable[FollowerState]:
        answering = self._answering
        new, listening, following, stopped = FollowerState
        always = [
            *self.machine.common(),
            on(AppReady, self._process.ready),
            on(AppLost, answering.app_lost),
            on(AppsApproved, self._app.approve),
            on(Due, self._due),
            on(Stopping, self._say_bye, stopped),
            turn(Turn.LISTENS, listening),
            turn(Turn.STOPS, stopped),
        ]
        return StateTable(
            new,
            stopped,
            {
                new: [on(Started, self._start, listening)],
                listening: [*always, turn(Turn.FOLLOWS, following)],
                following: [*always, on(Answered, answering.answered)],
                stopped: [],
            },
            settle={listening: self._settle, following: self._settle},
        )

    # -- for the shell ----------------------------------------------------------------------------------------------

    @property
    def failure(self) -> str:
        """What its app never did without an error since we started; empty if there is nothing of the kind."""
        counted = self._answering.outcomes
        if counted[True, False] and not counted[True, True]:
            return "the ClientApp answered every training message with an error"
        if counted[False, False] and not counted[True, True] and not counted[False, True]:
            return "the ClientApp answered every message with an error"
        return ""

    # -- time -------------------------------------------------------------------------------------------------------

    def _start(self, event: Started, now: float) -> None:
        if self._plan.app is not None:
            self._process.start(self._plan.app)
        self._voting.begin(now)
        self._keep_saying(now)

    def _due(self, event: Due, now: float) -> None:
        self._keep_saying(now)
        self._replies.announce(now)
        self._told.announce(now)
        self._answering.due(now)
        self._app.due(now)
        self._voting.due(now)

    def _keep_saying(self, now: float) -> None:
        self._servers.due(now)
        self.machine.keep_saying(now)

    def _moments(self) -> Iterator[float]:
        yield from self._servers.moments()
        yield from self._replies.moments()
        yield from self._told.moments()
        yield from self._forgotten.moments()
        yield from self._answering.moments()
        yield from self._app.moments()
        yield from self._voting.moments()

    def _settle(self, now: float) -> None:
        """Do what has become possible, and tell what is waited for."""
        self._ack_close(now)
        if (run := self._followed.run) is not None:
            self._go_on(run, now)
        if self.machine.state is not FollowerState.STOPPED:
            awaited = self._status.awaited()
            whom = ", ".join(self._status.witnesses()) if awaited is Awaited.WITNESSES else ""
            self.machine.outbox.tell_wait(awaited, self.machine.newest.manifest.version, now, whom)

    def _go_on(self, run: CatchUp, now: float) -> None:
        for step in self._followed.steps(run, now):
            self._stepped(run, step, now)
        self._laid_down.go_on(run, now)
        self._voting.settle(now)
        self._forgotten.ask(now)
        if self.machine.state is FollowerState.FOLLOWING:
            self._witnesses.tell(run, self._laid_down.note(), now)
            if not self._voting.has_voted_for_another():
                self._answering.go_on(run, now)
        elif run.caught_up:
            self._app.decline_unread(run, now)

    # -- hearing and saying -----------------------------------------------------------------------------------------

    def _said(self, said: Announcement, now: float) -> bool:
        """Whether it may change anything for us: of what other clients ask their leader, nothing does."""
        if self._voting.hear(said, now):
            return True
        match said.body:
            case ProposalReady():  # for admins' desks
                return False
            case Recalled() as told:
                self._forgotten.heard(said, told, now)
                return told.to == self.machine.newest.author.member
            case Proof() as proof:
                self.machine.equivocations.heard(proof, said.blocks, now)
            case AckReady() as ready if (run := self._followed.run) is not None:
                return self._witnesses.heard(said.by, ready, said.blocks, run, now)
            case _ if (server := self._leaders.author_of(said)) is not None:
                if self._leaders.heard(server, said, now):
                    self._replies.announce_soon(now)
            case _ if self._followed.run is None or said.by != self._followed.run.leader:
                return False
        self._forgotten.ask_soon(said.by, now)
        return True

    def _present(self, kind: type[Hello] | type[Beat]) -> Hello | Beat:
        state = PeerState.IDLE if self._answering.in_hand is None else PeerState.WORKING
        note = self._part.note
        return kind(self.machine.newest.ref, PeerState.REFUSED if note else state, self._followed.confirmed, note)

    def _say_bye(self, event: Stopping, now: float) -> None:
        self.machine.say_goodbye()

    # -- the run ----------------------------------------------------------------------------------------------------

    def _stepped(self, run: CatchUp, step: Step, now: float) -> None:
        """One more record of the run is verified."""
        self._witnesses.stepped(run, step, now)
        for message in step.opened:
            is_owed = message.node == self._node and self._replies.opened(run, message, step.height, now)
            if is_owed and not self._answering.goes_on_with(message):
                self._forgotten.opened(message.id, step.height)
        self._collected(run, step, now)
        self._recorded(run, step.record.body, now)

    def _recorded(self, run: CatchUp, body: Body, now: float) -> None:
        match body:
            case Run():
                self._app.read(run, body, now)
            case Roster():
                if not self._app.read_again(run, now):
                    self._replies.announce_soon(now)  # one may have to be signed with a newer key
            case Index():
                self._acks.ack(run, now)
            case Takeover():
                self._forgotten.ask_anew()
                self._told.announce_again(now)
                self._replies.announce_soon(now)
                self.machine.announcer.beat_soon(now)  # so that the new leader knows that we follow it
            case Close():
                self._closed(run, body, now)
            case _:
                pass

    def _collected(self, run: CatchUp, step: Step, now: float) -> None:
        """What a collect says of our messages, if it is one."""
        left_out = {message.id for message in step.left_out}
        for answer in step.answered:
            if answer.message.node == self._node:
                self._forgotten.collected(run, answer, now)
                self._replies.collected(answer, left_out=answer.message.id in left_out)
                self._answering.collected(answer.message.id)
        for late in step.late:
            if late.message.node == self._node:
                self._forgotten.told_of(run, late)
                self._replies.told_of(late)

    def _forked(self, run: CatchUp, fork: Fork, now: float) -> None:
        """The newest records that we had verified are lost, and so is a close, which is the newest if there is one."""
        if self._closing is not None and self._closing[0] is run:
            self._closing = None
        if fork.height < 0:
            self._part.begin()
            self._turn_to_another()
        else:
            self._witnesses.fork(fork.height)
            if fork.against is None:
                self._told.fork(fork.height)
            self._replies.fork(run, self._node, fork.height, now)
            self._answering.fork(run)

    def _closed(self, run: CatchUp, close: Close, now: float) -> None:
        stops = self._plan.once and self.machine.state is FollowerState.FOLLOWING and not self._followed.was_over
        self.machine.take(Turn.LISTENS)
        self._followed.tell_closed(run, close)
        if not stops or self._answering.in_hand is not None:
            self._leave()
        self._closing = run, stops
        self._ack_close(now)

    def _ack_close(self, now: float) -> None:
        """Ack a close, once this process has listened for others with its key: it may have just started."""
        if self._closing is None or not self.machine.copies.may_sign:
            return
        (run, stops), self._closing = self._closing, None
        close = run.chain.head
        assert close is not None
        ends = partial(self._end, run, stops)
        self._acks.ack(run, now, lambda then: self._followed.once_close_on_disk(close, ends, then))

    def _end(self, run: CatchUp, stops: bool, now: float) -> None:
        """Say that we have the close, which the leader waits for: the ack of it is on its way."""
        if not run.chain.closed:
            return  # a takeover has led around it meanwhile
        self.machine.announcer.say(Beat, now)
        if stops:
            self._say_bye(Stopping(), now)
            self.machine.take(Turn.STOPS)
            self.machine.outbox.emit(Stop(""))

    def _turn_to_another(self) -> None:
        self._leave()
        self._forgotten.begin()

    def _leave(self) -> None:
        """Nothing of the run before is to be answered any more."""
        self._replies.leave()
        self._answering.leave()
        self._app.leave()

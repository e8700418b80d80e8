"""The keeper role: keeps every run of the federation, and stands between members that reach nobody else.

It says nothing of a run in its own name. It passes on what the run's leader and clients announced, as they signed it,
so nobody has to believe a keeper. The table says which event may come when, and which part takes it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Final

from protocol.blocks.cid import CID, BlockError, MemoryBlocks, checked_block
from protocol.chain.chain import Step
from protocol.chain.closure import contents
from protocol.pacing.at_most_every import AtMostEvery
from protocol.pacing.backoff import FIRST_RETRY
from protocol.records.bodies import Close, Member, Role
from protocol.roles.catch_up import Fork
from protocol.roles.effects import Effect, KeepWhole, PassOn, Store, What
from protocol.roles.events import Due, Event, Received, Started, Stopping
from protocol.roles.following.members_here import MembersHere
from protocol.roles.keeper.early_replies import EarlyReplies
from protocol.roles.keeper.keeper_states import KeeperState
from protocol.roles.keeper.kept_acks import KeptAcks
from protocol.roles.keeper.kept_contents import KeptContents
from protocol.roles.keeper.kept_runs import NOTHING, KeptRun, KeptRuns, Remembered
from protocol.roles.machine import CommonParts, Machine
from protocol.roles.newest_manifest import Author, TrustedManifest
from protocol.roles.state_table import StateTable, on
from protocol.status.keeper_status import KeeperStatus
from protocol.wire.announcements import (
    AckReady,
    Alive,
    Announcement,
    Beat,
    Bye,
    Head,
    Hello,
    PeerState,
    Position,
    Proof,
    Recall,
    Recalled,
    ReplyReady,
    Said,
    topic_all,
)
from protocol.wire.asking import subject_of

NO_ROOM: Final = "no room for contents"
"""What a keeper's hellos and beats say while its owner's budget holds no more."""

TELL_AGAIN: Final = 5.0
"""Seconds until a server is told again that all of a run is here."""


class Keeper:
    """The state machine of a keeper peer."""

    handle: Callable[[Event, float], list[Effect]]
    """As `Machine.handle`."""

    def __init__(self, author: Author, trusted: TrustedManifest, remembered: Remembered = NOTHING) -> None:
        """``remembered`` is what earlier processes of this peer have kept."""
        topic = topic_all(trusted.manifest.federation)
        self.machine = machine = Machine[KeeperState](CommonParts(author, trusted, Role.KEEPER), topic)
        self._members = members = MembersHere(machine)
        self._contents = kept = KeptContents(machine)
        self._runs = runs = KeptRuns(remembered, kept, machine)
        self._replies = EarlyReplies(runs, kept, machine)
        self._acks = KeptAcks(runs, machine)
        runs.forked = self._forked
        self._may_answer = AtMostEvery(FIRST_RETRY)
        """Each server."""
        self._may_tell = AtMostEvery(TELL_AGAIN)
        """Each server that a run of it is whole."""
        self._whole: Position | None = None
        """The run that was found whole last: its leader stays until it hears that."""
        machine.wire(
            self._table(),
            moments=self._moments,
            said=self._said,
            present=self._present,
            distrusts=self._distrusts,
            status=KeeperStatus(members, runs, kept, machine).at,
        )
        self.handle = machine.handle

    def _table(self) -> StateTable[KeeperState]:
        new, keeping, stopped = KeeperState
        rules = [
            *self.machine.common(),
            on(Received, self._hear),
            on(Due, self._due),
            on(Stopping, self._say_bye, stopped),
        ]
        rows = {new: [on(Started, self._start, keeping)], keeping: rules, stopped: []}
        return StateTable(new, stopped, rows, settle={keeping: self._settle})

    # -- time -------------------------------------------------------------------------------------------------------

    def _start(self, event: Started, now: float) -> None:
        versions = tuple(checked_block(cid, data) for cid, data in self.machine.newest.blocks.items())
        self.machine.outbox.must(Store, lambda _: None, versions, own=False)  # our beats name it: others fetch it
        self._runs.begin(now)
        self._keep_saying(now)

    def _due(self, event: Due, now: float) -> None:
        self._keep_saying(now)

    def _keep_saying(self, now: float) -> None:
        self._members.due(now)
        self.machine.keep_saying(now)

    def _moments(self) -> Iterator[float]:
        yield from self._members.moments()
        yield from self._contents.moments()

    def _settle(self, now: float) -> None:
        """Do what has become possible."""
        for kept, step, blocks in self._runs.steps(now):
            self._stepped(kept, step, blocks)
        self._contents.go_on(now)
        for kept in [kept for kept in self._runs.followed.values() if kept.has_all_records]:
            if not self._contents.lacks(kept.run):
                self._is_whole(kept, now)

    # -- hearing and saying -----------------------------------------------------------------------------------------

    def _hear(self, event: Received, now: float) -> None:
        """Hear an announcement, and let those hear it that ask us, if it is a member's."""
        self._data = event.data
        self.machine.hear(event, now)

    def _said(self, said: Announcement, now: float) -> bool:
        """Whether it may change anything for us: a member's sign of life is passed on, and no more."""
        member = self.machine.newest.manifest.members[said.by]
        self.machine.outbox.emit(PassOn(said.by, self._data, subject_of(said.body)))
        self._members.heard(said.by, said.body, now)
        match said.body:
            case Hello() | Beat() as body:
                if self._members.may_have_missed_us(body):
                    self.machine.announcer.beat_soon(now)
                    self.machine.equivocations.tell_newcomer(now)
            case ReplyReady() as ready:
                self._replies.heard(said.by, ready, said.blocks, now)
            case AckReady() as ready:
                self._acks.heard(said.by, ready, said.blocks, now)
            case Proof() as proof:
                self.machine.equivocations.heard(proof, said.blocks, now)
            case Recall() as asked:
                self._recall(member, asked, now)
            case Head() | Recalled() | Alive() | Bye():
                pass
        if (position := _led(said.body)) is not None and Role.SERVER in member.roles:
            self._heard_leader(member, said, position, now)
        elif isinstance(said.body, Hello | Beat) and said.body.position is not None:
            self._runs.hinted(member, said.body.position, now)
        return True

    def _heard_leader(self, server: Member, said: Announcement, position: Position, now: float) -> None:
        whole = self._runs.whole.get(position.run)
        if whole not in (None, self._whole) and self._may_tell.take(server.id, now):
            self._whole = whole  # it has not heard that it may go
            self.machine.announcer.say(Beat, now)
        self._runs.heard(server, said, position, now)

    def _recall(self, member: Member, asked: Recall, now: float) -> None:
        """Say to a server that has started how far we know its run, so that it forgets none of it."""
        is_due = asked.run is not None and Role.SERVER in member.roles and self._may_answer.take(member.id, now)
        newest: Position | None = None if asked.run is None or not is_due else self._runs.newest_of(asked.run)
        if newest is not None:
            self.machine.announcer.announce(Recalled(member.id, asked.session, newest))

    def _present(self, kind: type[Hello] | type[Beat]) -> Hello | Beat:
        note = NO_ROOM if self.machine.no_room else ""  # no leader waits for us then
        return kind(self.machine.newest.ref, PeerState.IDLE, self._whole, note)

    def _say_bye(self, event: Stopping, now: float) -> None:
        self.machine.say_goodbye()

    def _distrusts(self, member: Member, proof: CID, now: float) -> None:
        """What is kept of its runs stays. `KeptRuns` hears nothing more of them."""

    # -- the runs ---------------------------------------------------------------------------------------------------

    def _stepped(self, kept: KeptRun, step: Step, blocks: Mapping[CID, bytes]) -> None:
        """One more record of a run is verified: keep what it names."""
        for answer in step.answered:
            self._replies.answered(kept.run, answer.message.id)
        source = MemoryBlocks(blocks, self.machine.newest.blocks)
        try:
            for content in contents(step.record, source):
                self._contents.want(kept.run, content, step.height)
        except BlockError as error:  # the blocks it was verified with are all here
            raise AssertionError(f"{step.record.cid}: {error}") from error
        if isinstance(step.record.body, Close):
            said = {"run": str(kept.run), "head": str(step.record.cid), "outcome": step.record.body.outcome.value}
            self.machine.outbox.report(What.RUN_CLOSED, **said)

    def _forked(self, kept: KeptRun, fork: Fork) -> None:
        """The newest records that we kept of a run are lost. Their blocks stay: whoever looks into what happened may
        ask for them."""
        self._contents.fork(kept.run, fork.height)
        self._replies.fork(kept)

    def _is_whole(self, kept: KeptRun, now: float) -> None:
        self._runs.is_whole(kept)
        self._whole = self._runs.whole[kept.run]
        self.machine.announcer.say(Beat, now)
        self._replies.forget(kept.run)
        self.machine.outbox.emit(KeepWhole(kept.run))
        self.machine.outbox.report(What.RUN_WHOLE, run=str(kept.run), height=kept.chain.height)


def _led(said: Said) -> Position | None:
    """How far the author is with a run, if it leads that: another server says how far it has verified one."""
    match said:
        case Head(position):
            return position
        case Hello(state=PeerState.LEADING, position=position) | Beat(state=PeerState.LEADING, position=position):
            return position
        case _:
            return None

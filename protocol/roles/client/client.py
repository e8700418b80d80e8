"""The client role: answers the messages of a run, and announces each reply until it is collected.

A message is answered in steps that can each be interrupted and begun again: fetch its content, let the app work, store
the signed reply, keep it together with the app's state, announce it. What is kept is never computed twice.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum, auto
from functools import partial
from typing import Final

from crypto.dsse import BadSignature
from crypto.symmetric import SymmetricKey
from protocol.app.calls import Answered, ErrorCode, Task
from protocol.blocks.cid import CID, Block, BlockError
from protocol.blocks.content import ContentKey
from protocol.chain.chain import AnsweredMessage, Chain, OpenMessage, Step
from protocol.federation.reading import read_private
from protocol.pacing.retry import Retry
from protocol.records.bodies import Ack, Body, Close, Index, ReasonPrivate, Reply, Role, Roster, Run, RunPrivate
from protocol.records.contexts import OwnKeySeal, ReplyContent, ReplyPrivate, StateContent, content_key, seal_for
from protocol.records.private import private_part
from protocol.records.signed import parse_record, private_bytes, sign_record
from protocol.replies.admission import is_update
from protocol.roles.catch_up import CatchUp
from protocol.roles.client.acks import Acking
from protocol.roles.client.acks import KeptRun as KeptRun
from protocol.roles.client.app_host import AppState, ClientPlan
from protocol.roles.client.follow import NOTHING, ClientState, Verified
from protocol.roles.client.forgotten_replies import Recalling
from protocol.roles.client.replies import Unacknowledged
from protocol.roles.effects import FetchContent, FetchRecord, Hand, KeepAcks, KeepReply, Stop, Store, What
from protocol.roles.events import (
    AppAnswered,
    AppLost,
    AppReady,
    AppsApproved,
    Due,
    Started,
    Stopping,
)
from protocol.roles.leader.plan import named_bundle
from protocol.roles.newest_manifest import Author, TrustedManifest
from protocol.roles.table import IllegalEvent
from protocol.roles.waits import Awaited
from protocol.wire.announcements import Announcement, Beat, PeerState, Recalled

CRASHES: Final = 2
"""How often the app process may be lost over one message before that is its answer."""

FETCH_AGAIN: Final = 1.0
"""Seconds until a content that could not be had is asked for again."""


@dataclass(frozen=True, slots=True)
class OwnKey:
    """A client's own key of an epoch, for what only servers and auditors may read."""

    epoch: int
    key: SymmetricKey
    sealed: bytes
    """The key, sealed to the epoch's update key."""


class Stage(Enum):
    """How far the message in hand is."""

    FETCHING = auto()
    """Its content is not here yet."""
    READY = auto()
    """The app may have it."""
    AT_APP = auto()
    ANSWERED = auto()
    """The reply is on its way to disk."""


@dataclass(slots=True)
class Work:
    """The message in hand."""

    message: OpenMessage
    stage: Stage = Stage.FETCHING
    own_key: OwnKey | None = None
    """What the reply is encrypted with; None: it is plain."""
    crashes: int = 0
    fetch_again: float | None = None


class Client(Acking):
    """The state machine of a client peer."""

    ROLE = Role.CLIENT

    def __init__(
        self,
        author: Author,
        trusted: TrustedManifest,
        plan: ClientPlan,
        kept: Mapping[CID, KeptRun],
        verified: Verified = NOTHING,
    ) -> None:
        """``kept`` is what earlier processes of this peer have kept, by run; ``verified`` what they verified."""
        super().__init__(author, trusted, plan, verified)
        self._kept_runs = dict(kept)
        self._queue: dict[bytes, OpenMessage] = {}
        self._work: Work | None = None
        self._own: OwnKey | None = None
        self._outcomes: Counter[tuple[bool, bool]] = Counter()
        """Messages by whether they asked for training, and whether the answer was other than an error."""
        self._unread: Run | None = None
        """The run record, where it is encrypted for others so far."""
        self._taking_up: set[bytes] = set()
        """Messages whose replies, which we had forgotten, are on their way to disk."""

    @property
    def failure(self) -> str:
        """What its app never did without an error since we started; empty where there is nothing of the kind."""
        counted = self._outcomes
        if counted[True, False] and not counted[True, True]:
            return "the ClientApp answered every training message with an error"
        if counted[False, False] and not counted[True, True] and not counted[False, True]:
            return "the ClientApp answered every message with an error"
        return ""

    # -- time -------------------------------------------------------------------------------------------------------

    def _started(self, event: Started, now: float) -> None:
        self._voice.addresses = event.addresses
        self.state = ClientState.LISTENING
        self._copies.begin(now)
        if self._plan.app is not None:
            self._start_app(self._plan.app)
        self._keep_saying(now)

    def _due(self, event: Due, now: float) -> None:
        self._keep_saying(now)
        self._announce_due(now)
        self._tell_ack(now)
        self._ask_leader(now)
        if self._work is not None and self._work.fetch_again is not None and now >= self._work.fetch_again:
            self._fetch_content(self._work)
        self._app_due(now)

    def _moments(self) -> Iterable[float]:
        yield from super()._moments()
        if self._is_asking:
            yield self._recalling.retry.at
        if self._work is not None and self._work.fetch_again is not None:
            yield self._work.fetch_again
        if self._unpack_again is not None:
            yield self._unpack_again.at

    @property
    def _peer_state(self) -> PeerState:
        if self._note:
            return PeerState.REFUSED
        return PeerState.WORKING if self._work is not None else PeerState.IDLE

    # -- the run ----------------------------------------------------------------------------------------------------

    def _settle(self, now: float) -> None:
        self._go_on(now)
        if self.state is not ClientState.STOPPED:
            fetching = self._work is not None and self._work.stage is Stage.FETCHING
            self._outbox.tell_wait(self._lacks() or (Awaited.CONTENT if fetching else None), self.manifest.version, now)

    def _go_on(self, now: float) -> None:
        if self.state is not ClientState.STOPPED and self._run is not None:
            self._follow(self._run, now)
            self._ask_leader(now)
        if self._run is None or not self._run.caught_up:
            return
        if self.state is ClientState.FOLLOWING:
            self._next_work(self._run)
        elif self._unread is not None and not self._note:
            self._decline(self._run.run, "what the run records is encrypted for others: it has not let us in", now)

    def _begun(self) -> None:
        assert self._run is not None
        self._unread = None
        self._kept = self._kept_runs.setdefault(self._run.run, KeptRun())
        self._recalling = Recalling(self.author.session)
        self._left()

    def _left(self) -> None:
        """Nothing of the run before is to be answered any more."""
        self._queue, self._work, self._unacknowledged, self._own = {}, None, {}, None
        self._leave_app()

    def _stepped(self, step: Step, now: float) -> None:
        assert self._run is not None
        for message in step.opened:
            if message.node == self.node:
                self._take_message(message, step.height, now)
        for answer in step.answered:
            if answer.message.node == self.node:
                self._acknowledged(answer, now)
        match step.record.body:
            case Run() as run:
                self._take_run(run, now)
            case Roster() if self._unread is not None:  # it may bring us what opens the run record
                self._take_run(self._unread, now)
            case Close() as close:
                self._take_close(close, now)
            case Index():
                self._ack(self._run, now)
            case Roster():
                self._leader_is_back(now)  # a reply may have to be signed with a newer key
                self._hand_over()  # and a message may have waited for it
            case _:
                pass

    def _take_run(self, body: Run, now: float) -> None:
        assert self._run is not None
        private = read_private(body, RunPrivate, self._run.chain.keys)
        if private is None:
            self._unread = body
        else:
            self._unread, self._note = None, ""
            self._choose_app(named_bundle(body, private, self._run.chain.keys), private, now)

    def _take_close(self, body: Close, now: float) -> None:
        assert self._run is not None
        took_part, self.state = self.state is ClientState.FOLLOWING, ClientState.LISTENING
        private = read_private(body, ReasonPrivate, self._run.chain.keys)
        run, head, why = str(self._run.run), str(self._run.chain.head), private.reason if private else ""
        self._outbox.report(What.RUN_CLOSED, run=run, head=head, outcome=body.outcome.value, why=why)
        stops = took_part and self._plan.once
        if not stops or self._work is not None:
            self._left()
        self._ack(self._run, now, partial(self._close_acked, stops))

    def _close_acked(self, stops: bool, now: float) -> None:
        """Say that we have the close, which the leader waits for, once the ack of it is on its way."""
        self._voice.say(Beat, now)
        if stops:
            self._stopping(Stopping(), now)
            self._outbox.emit(Stop(""))

    # -- messages ---------------------------------------------------------------------------------------------------

    def _take_message(self, message: OpenMessage, height: int, now: float) -> None:
        reply = self._kept.replies.get(message.id)
        if reply is None:
            self._queue[message.id] = message
            self._recalling.opened(message.id, height)
        else:  # answered before a restart
            self._unacknowledged[message.id] = Unacknowledged(reply, None, Retry(now))

    def _acknowledged(self, answer: AnsweredMessage, now: float) -> None:
        """A collect has answered the message: nothing more is to be done for it. Where it takes another reply of ours
        than the one we kept, somebody else has our key."""
        message, taken = answer.message.id, answer.reply is not None
        ours = self._kept.replies.get(message)
        recorded = answer.recorded
        if ours is not None and answer.reply is not None and answer.reply.cid != ours:
            self._proofs.compare(ours, answer.reply.cid, (), now)
        elif ours is None and recorded is not None and message not in self._taking_up:
            self._keep_forgotten(message, recorded)
        self._queue.pop(message, None)
        self._recalling.settle(message)
        self._unacknowledged.pop(message, None)
        why = "" if taken else answer.reason
        self._outbox.report(What.TASK_COLLECTED, message=message.hex(), taken=int(taken), why=why)

    def _next_work(self, run: CatchUp) -> None:
        """Begin with the next message, in chain order, once it is sure that no reply of ours to it is there."""
        following = next(iter(self._queue), None)
        if self._work is not None or following is None or self._is_behind(run) or not self._copies.may_sign:
            return
        if self._recalling.may_answer(following):
            self._work = Work(self._queue.pop(following))
            self._outbox.report(What.TASK_STARTED, message=self._work.message.id.hex(), type=self._work.message.type)
            self._fetch_content(self._work)

    def _fetch_content(self, work: Work) -> None:
        work.fetch_again = None
        done, failed = partial(self._content_here, work), partial(self._content_lost, work)
        self._outbox.ask(FetchContent, done, failed, work.message.content)

    def _content_here(self, work: Work, now: float) -> None:
        work.stage = Stage.READY
        if work is self._work:
            self._hand_over()

    def _content_lost(self, work: Work, why: str, now: float) -> None:
        self._outbox.report(What.FETCH_FAILED, message=work.message.id.hex(), why=why)
        work.fetch_again = now + FETCH_AGAIN

    def _hand_over(self) -> None:
        """Give the message in hand to the app, once both are here."""
        work = self._work
        if work is None or work.stage is not Stage.READY:
            return
        if self._app is AppState.LOST and self._hosted is not None:
            self._start_app(self._hosted)
        if self._app is not AppState.STARTED:
            return
        assert self._run is not None
        if self._is_behind(self._run):
            return
        work.stage = Stage.AT_APP
        work.own_key = own = self._own_key(self._run.chain)
        message = work.message
        self._outbox.emit(
            Hand(
                Task(
                    message=message.id,
                    content=message.content,
                    type=message.type,
                    group=message.group,
                    ttl=message.ttl,
                    created=message.created,
                    state=self._kept.state,
                    key=self._run.chain.keys.content(message.epoch),
                    reply_key=None if own is None else self._reply_key(own, self._run.run),
                    state_key=None if own is None else self._state_key(self._run.run),
                )
            )
        )

    def _reply_key(self, own: OwnKey, run: CID) -> ContentKey:
        return content_key(own.key, ReplyContent(run, own.epoch, self.author.member))

    def _state_key(self, run: CID) -> ContentKey:
        """What the app's state is encrypted with; it stays, so that an older state opens after a restart."""
        return content_key(SymmetricKey(self._plan.secret), StateContent(run, self.author.member))

    def _own_key(self, chain: Chain) -> OwnKey | None:
        """Our key of the newest epoch, another after a restart; None where nothing is encrypted.

        It is random, and not made of what our signing key is: whoever steals that is not to read updates.
        """
        epoch = chain.keys.current
        if epoch is None:
            return None
        if self._own is None or self._own.epoch != epoch.number:
            key = SymmetricKey.generate()
            context = OwnKeySeal(chain.run, epoch.number, self.author.member)
            self._own = OwnKey(epoch.number, key, seal_for(epoch.public, key.secret_bytes(), context))
        return self._own

    def _private(self, value: ReasonPrivate, own: OwnKey | None, message: bytes) -> bytes:
        """The private part of the reply to a message."""
        if own is None:
            return private_bytes(value)
        assert self._run is not None
        return private_part(value, own.key, ReplyPrivate(self._run.run, own.epoch, self.author.member, message))

    def _app_answered(self, event: AppAnswered, now: float) -> None:
        answer = event.answer
        if self._work is None or self._work.stage is not Stage.AT_APP or self._work.message.id != answer.message:
            raise IllegalEvent(f"an answer to message {answer.message.hex()}, which the app does not have")
        self._sign_reply(self._work, answer, now)

    def _sign_reply(self, work: Work, answer: Answered, now: float) -> None:
        assert self._run is not None
        if work.message.id in self._kept.replies:  # a collect has shown one that we had forgotten
            self._work = None
            return
        work.stage = Stage.ANSWERED
        message = work.message
        own = work.own_key
        reason = answer.reason[: self._run.chain.manifest.settings.max_reason_chars]
        body = Reply(
            by=self.author.member,
            time=now,
            epoch=None if own is None else own.epoch,
            private=self._private(ReasonPrivate(reason=reason), own, message.id),
            run=self._run.run,
            message=message.id,
            dispatch=message.dispatch,
            created=answer.created,
            ttl=message.ttl,
            content=answer.content,
            code=answer.code,
            key=b"" if own is None else own.sealed,
        )
        block = sign_record(body, [self.author.key_in(self._run.chain.manifest)])
        done = partial(self._reply_stored, work, self._run.run, block, answer)
        self._outbox.must(Store, done, (block,), own=True)

    def _reply_stored(self, work: Work, run: CID, block: Block, answer: Answered, now: float) -> None:
        done = partial(self._reply_kept, work, run, block, answer)
        self._outbox.must(KeepReply, done, run, work.message.id, block.cid, answer.state)

    def _reply_kept(self, work: Work, run: CID, block: Block, answer: Answered, now: float) -> None:
        message = work.message.id
        kept = self._kept_runs[run]
        kept.replies[message] = block.cid
        kept.state = answer.state or kept.state
        self._tell_answer(work.message, block.cid, answer)
        if work is not self._work or self._run is None:
            return
        self._work = None
        if message in self._run.chain.open:
            self._unacknowledged[message] = waiting = Unacknowledged(block.cid, block, Retry(now))
            self._announce_reply(message, waiting, now)
        self._ack(self._run, now)

    def _tell_answer(self, message: OpenMessage, reply: CID, answer: Answered) -> None:
        self._outcomes[is_update(message.type), answer.code is None] += 1
        id, of = message.id.hex(), {"type": message.type, "round": answer.round}
        if answer.code is None:
            self._outbox.report(What.TASK_ANSWERED, message=id, reply=str(reply), **of)
        else:
            name, why = self.manifest.name_of(self.author.member), answer.reason
            self._outbox.report(
                What.TASK_FAILED, name=name, message=id, reply=str(reply), code=answer.code, why=why, **of
            )

    # -- what this home has forgotten -------------------------------------------------------------------------------

    @property
    def _is_asking(self) -> bool:
        """Whether the leader is to tell us what it has of ours."""
        run = self._run
        return run is not None and not run.chain.closed and run.leader in self._heard and self._recalling.is_asking

    def _ask_leader(self, now: float) -> None:
        if self._is_asking and now >= self._recalling.retry.at:
            assert self._run is not None
            self._recalling.retry.back_off(now)
            self._voice.announce(self._recalling.question(self._run.run))

    def _said(self, announcement: Announcement, now: float) -> None:
        if isinstance(announcement.body, Recalled):
            self._heard_recalled(announcement.by, announcement.body, announcement.blocks, now)
            return
        super()._said(announcement, now)
        if self._run is not None and announcement.by == self._run.leader:
            self._recalling.retry.soon(now)

    def _heard_recalled(self, by: bytes, told: Recalled, inline: tuple[Block, ...], now: float) -> None:
        """The leader says what it has of ours: take that up. It can only keep us from answering in its own run."""
        run, position = self._run, told.position
        asked = told.to == self.author.member and told.session == self.author.session
        if not asked or run is None or by != run.leader or position is None or position.run != run.run:
            return
        run.hear(position, ())
        here = {block.cid: block for block in inline}
        if told.ack is not None and told.ack in here:
            self._take_up_ack(here[told.ack], run.run)
        for known in self._recalling.answered(told, position.height):
            if known.record is not None and known.record in here:
                self._take_up_reply(known.message, here[known.record], now)

    def _take_up_ack(self, block: Block, run: CID) -> None:
        """Note an ack that we had forgotten: no other may be at its height, nor any below it."""
        ack = self._own_body(block)
        if isinstance(ack, Ack) and ack.run == run and ack.height > self._kept.acked:
            forgotten = _listed(ack).difference(self._kept.replies.values())
            self._kept.keep_ack(ack)
            for reply in sorted(forgotten):
                self._recalling.look_for(reply)
                done, failed = partial(self._listed_here, reply), partial(self._listed_lost, reply)
                self._outbox.ask(FetchRecord, done, failed, reply, Reply)
            self._outbox.report(What.RECALLED, ack=str(block.cid), height=ack.height)
            self._outbox.must(KeepAcks, lambda _: None, run, (block,))

    def _listed_here(self, reply: CID, blocks: Mapping[CID, bytes], now: float) -> None:
        block = Block(reply, blocks[reply])
        self._recalling.looked_for(reply)
        body = self._own_body(block)
        if isinstance(body, Reply) and self._run is not None:
            self._take_up_reply(body.message, block, now)

    def _listed_lost(self, reply: CID, why: str, now: float) -> None:
        """Nobody has it: nobody can take it for our answer."""
        self._recalling.looked_for(reply)
        self._outbox.report(What.FETCH_FAILED, cid=str(reply), why=why)

    def _take_up_reply(self, message: bytes, block: Block, now: float) -> None:
        """Keep a reply that we had forgotten, and that no collect has taken yet."""
        reply, run = self._own_body(block), self._run
        assert run is not None
        known = message not in self._queue or message in self._taking_up
        if known or not isinstance(reply, Reply) or (reply.run, reply.message) != (run.run, message):
            return
        self._taking_up.add(message)
        self._recalling.opened(message, -1)
        done = partial(self._forgotten_stored, run.run, message, block)
        self._outbox.must(Store, done, (block,), own=True)

    def _forgotten_stored(self, run: CID, message: bytes, block: Block, now: float) -> None:
        done = partial(self._forgotten_kept, run, message, block)
        self._outbox.must(KeepReply, done, run, message, block.cid, None)

    def _forgotten_kept(self, run: CID, message: bytes, block: Block, now: float) -> None:
        self._taking_up.discard(message)
        self._kept_runs[run].replies[message] = block.cid
        self._outbox.report(What.RECALLED, message=message.hex(), reply=str(block.cid))
        if self._run is not None and self._run.run == run:
            self._queue.pop(message, None)
            self._recalling.settle(message)
            if message in self._run.chain.open:
                self._unacknowledged[message] = Unacknowledged(block.cid, block, Retry(now))

    def _keep_forgotten(self, message: bytes, reply: CID) -> None:
        """Keep a reply of ours that a collect took, or refused, and that this home does not know."""
        assert self._run is not None
        self._kept.replies[message] = reply
        self._outbox.report(What.RECALLED, message=message.hex(), reply=str(reply))
        self._outbox.must(KeepReply, lambda _: None, self._run.run, message, reply, None)

    def _own_body(self, block: Block) -> Body | None:
        """What a record says that one of our keys signed."""
        try:
            record = parse_record(block)
            if record.body.by != self.author.member or not self.author.has_signed(record):
                return None
            record.check_signatures()
        except (BlockError, BadSignature):
            return None
        return record.body

    # -- the app process --------------------------------------------------------------------------------------------

    def _app_has_run(self) -> None:
        self._hand_over()

    def _app_lost_work(self, why: str, now: float) -> bool:
        work = self._work
        if work is None or work.stage is not Stage.AT_APP:
            return False
        work.stage = Stage.READY
        work.crashes += 1
        if work.crashes >= CRASHES:
            reason = f"the app process was lost {work.crashes} times over this message: {why}"
            crashed = Answered(work.message.id, now, code=ErrorCode.CLIENT_APP_CRASHED, reason=reason)
            self._sign_reply(work, crashed, now)
        return True


def _listed(ack: Ack) -> frozenset[CID]:
    """The replies that an ack lists; they are in its own block."""
    replies = ack.replies.value
    return frozenset(replies) if isinstance(replies, tuple) else frozenset()


_ALWAYS: Final[Mapping[type, str]] = {
    Due: "_due",
    Stopping: "_stopping",
    AppReady: "_app_ready",
    AppLost: "_app_lost",
    AppsApproved: "_apps_approved",
}

Client.TABLE = {
    ClientState.NEW: {Started: "_started"},
    ClientState.LISTENING: _ALWAYS,
    ClientState.FOLLOWING: {**_ALWAYS, AppAnswered: "_app_answered"},
    ClientState.STOPPED: {},
}

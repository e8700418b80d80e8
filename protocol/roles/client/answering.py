"""The message in hand: a client answers one at a time.

It is answered in steps that can each be interrupted and begun again: fetch its content, let the app work, sign and
store the reply, keep it together with the app's state, announce it. What is kept is never computed twice.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum, auto
from functools import partial
from typing import Final

from crypto.symmetric import SymmetricKey
from protocol.app.calls import Answered, ErrorCode, Task
from protocol.blocks.cid import CID, Block
from protocol.blocks.content import ContentKey
from protocol.blocks.root_hints import MAX_REPLY_ROOT, root_hint
from protocol.chain.chain import OpenMessage
from protocol.records.bodies import ReasonPrivate, Reply
from protocol.records.contexts import state_keys
from protocol.records.signed_records import private_bytes, sign_record
from protocol.replies.checks_and_limits import is_update
from protocol.roles.catch_up import CatchUp
from protocol.roles.client.app_process import AppProcess, AppState
from protocol.roles.client.forgotten_replies import ForgottenReplies
from protocol.roles.client.kept_run import KeptRun
from protocol.roles.client.owed_replies import OwedReplies
from protocol.roles.client.own_acks import OwnAcks
from protocol.roles.client.own_key import OwnKey, own_key
from protocol.roles.effects import FetchContent, Hand, KeepReply, Store, What
from protocol.roles.events import AppLost
from protocol.roles.following.follower_states import FollowerState
from protocol.roles.following.heard_witnesses import HeardWitnesses
from protocol.roles.machine import Machine
from protocol.roles.state_table import IllegalEvent
from protocol.roles.waiting import Awaited
from protocol.status.measures import in_words, kept, renewed
from protocol.status.role_status import NO_ANSWERS, Answers

CRASHES: Final = 2
"""How often the app process may be lost over one message before that is its answer."""

FETCH_AGAIN: Final = 1.0
"""Seconds until a content that could not be had is asked for again."""


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
class MessageInHand:
    """The message in hand."""

    run: CatchUp
    message: OpenMessage
    stage: Stage = Stage.FETCHING
    since: float = 0.0
    """When it was taken in hand, in seconds since 1970."""
    own_key: OwnKey | None = None
    """What the reply is encrypted with; None: it is plain."""
    crashes: int = 0
    fetch_again: float | None = None
    is_lost: bool = False
    """Whether the dispatch is lost, and no successor of it has come."""


class Answering:
    """Takes message after message in hand."""

    def __init__(
        self,
        secret: bytes,
        kept: Mapping[CID, KeptRun],
        replies: OwedReplies,
        forgotten: ForgottenReplies,
        acks: OwnAcks,
        witnesses: HeardWitnesses,
        process: AppProcess,
        machine: Machine[FollowerState],
    ) -> None:
        """``secret`` encrypts the app's state."""
        self._secret = secret
        self._kept = kept
        self._replies = replies
        self._forgotten = forgotten
        self._acks = acks
        self._witnesses = witnesses
        self._process = process
        self._machine = machine
        self._copies, self._newest, self._outbox = machine.copies, machine.newest, machine.outbox
        self._own_key: OwnKey | None = None
        self.in_hand: MessageInHand | None = None
        self._ahead: CID | None = None
        """The content that was fetched last before its message was taken in hand."""
        self.round: int | None = None
        """Of the newest message that was answered, if the app names its round."""
        self.answers: Answers | None = None
        """What was answered in the run, for people."""
        self.outcomes: Counter[tuple[bool, bool]] = Counter()
        """Messages by whether they asked for training, and whether the answer was other than an error."""

    def go_on(self, run: CatchUp, now: float) -> None:
        """Begin with the next message, or give the one in hand to the app, once both are here; but nothing while we
        know a newer manifest than the run does."""
        if run.is_behind:
            return
        if self.in_hand is not None and self.in_hand.is_lost and self._replies.owed and run.caught_up:
            self._abandon(self.in_hand)
        if self.in_hand is None:
            self._begin_next(run, now)
        elif self.in_hand.stage is Stage.READY:
            self._hand_over(self.in_hand)

    def fork(self, run: CatchUp) -> None:
        """Records are lost: the message in hand may be open no more. Its answer is not: the new leader may send it
        again."""
        if (work := self.in_hand) is not None:
            work.is_lost = work.message.id not in run.chain.open
            self._replies.owed.pop(work.message.id, None)

    def goes_on_with(self, message: OpenMessage) -> bool:
        """Whether a message that a record opens is the one that the app has in hand, whose dispatch was lost: it goes
        on. One that the app does not have yet is taken in hand anew."""
        work = self.in_hand
        if work is None or work.message.id != message.id:
            return False
        if work.stage in (Stage.FETCHING, Stage.READY):
            self.in_hand = None
            return False
        work.message, work.is_lost = message, False
        self._replies.owed.pop(message.id, None)
        return True

    def _abandon(self, work: MessageInHand) -> None:
        """Turn to what is to be answered: the message in hand is not, as far as the run has gone."""
        if work.stage is Stage.ANSWERED:
            return
        self.in_hand = None
        self._outbox.report(What.TASK_ABANDONED, message=work.message.id.hex(), type=work.message.type)
        if work.stage is Stage.AT_APP:
            self._process.start_again()

    def leave(self) -> None:
        """The message in hand is not to be answered any more."""
        self.in_hand = self.round = self.answers = None

    def collected(self, message: bytes) -> None:
        """A collect has answered the message: if it is in hand, with an error. An app that has it goes on with it, and
        its state is the one after it; before that, nobody works on it for nothing."""
        work = self.in_hand
        if work is not None and work.message.id == message and work.stage in (Stage.FETCHING, Stage.READY):
            self.in_hand = None

    def moments(self) -> Iterator[float]:
        """When the content is to be fetched again."""
        if self.in_hand is not None and self.in_hand.fetch_again is not None:
            yield self.in_hand.fetch_again

    def due(self, now: float) -> None:
        """Fetch the content again, if it is time."""
        if any(now >= at for at in self.moments()) and self.in_hand is not None:
            self._fetch(self.in_hand)

    @property
    def awaited(self) -> Awaited | None:
        """What is not here."""
        return Awaited.CONTENT if self.in_hand is not None and self.in_hand.stage is Stage.FETCHING else None

    # -- to the app -------------------------------------------------------------------------------------------------

    def _begin_next(self, run: CatchUp, now: float) -> None:
        """Take the next message in hand, in chain order, once it is sure that no reply of ours to it is there. One that
        waits for witnesses keeps no other waiting."""
        if self._machine.no_room or not run.caught_up or not self._copies.may_sign:
            return
        owed = self._replies.owed.values()
        following = next((message.id for message in owed if self._witnesses.may_answer(run, message)), None)
        if following is None:
            self._fetch_ahead(run)
            return
        if self._forgotten.may_answer(following):
            self.in_hand = work = MessageInHand(run, self._replies.owed.pop(following), since=now)
            self._outbox.report(What.TASK_STARTED, message=following.hex(), type=work.message.type)
            self._fetch(work)

    def _fetch_ahead(self, run: CatchUp) -> None:
        """Have the content here of the message that waits for witnesses, so that nothing else is waited for then. If it
        cannot be had, it is fetched again once the message is taken in hand."""
        waiting = next(self._witnesses.awaited(run, self._replies.owed.values()), None)
        if waiting is not None and waiting.content != self._ahead:
            self._ahead = waiting.content
            root = run.root_of(waiting.content)
            self._outbox.ask(FetchContent, lambda _: None, lambda *_: None, waiting.content, root=root)

    def _fetch(self, work: MessageInHand) -> None:
        work.fetch_again = None
        done, failed = partial(self._content_here, work), partial(self._content_lost, work)
        content = work.message.content
        self._outbox.ask(FetchContent, done, failed, content, root=work.run.root_of(content))

    def _content_here(self, work: MessageInHand, now: float) -> None:
        work.stage = Stage.READY

    def _content_lost(self, work: MessageInHand, why: str, now: float) -> None:
        self._outbox.report(What.FETCH_FAILED, message=work.message.id.hex(), why=why)
        work.fetch_again = now + FETCH_AGAIN

    def _hand_over(self, work: MessageInHand) -> None:
        if self._process.state is AppState.LOST:
            self._process.start_again()
        if self._process.state is not AppState.STARTED:
            return
        message, run, member = work.message, work.run.run, self._newest.author.member
        work.stage = Stage.AT_APP
        work.own_key = self._own_key = own = own_key(work.run.chain, member, self._own_key)
        # what encrypts the state stays, so that an older state opens after a restart
        state_key, earlier = self._state_keys(work) if own is not None else (None, None)
        task = Task(
            message=message.id,
            content=message.content,
            type=message.type,
            group=message.group,
            ttl=message.ttl,
            created=message.created,
            state=self._replies.state(run),
            key=work.run.chain.keys.content(message.epoch),
            reply_key=None if own is None else own.content_key,
            state_key=state_key,
            earlier_state_key=earlier,
        )
        self._outbox.emit(Hand(task))

    def _state_keys(self, work: MessageInHand) -> tuple[ContentKey, ContentKey]:
        model = work.run.chain.keys.epochs[0].model
        assert model is not None  # we read the newest epoch, and it opens those before
        return state_keys(SymmetricKey(self._secret), model, work.run.run, self._newest.author.member)

    def app_lost(self, event: AppLost, now: float) -> None:
        """The app process was lost, and with it what it had in hand: give that to another, but not for ever."""
        work = self.in_hand
        if work is None or work.stage is not Stage.AT_APP:
            self._process.lost(event.why, now, at_work=False)
            return
        work.stage = Stage.READY
        work.crashes += 1
        self._process.lost(event.why, now, at_work=True)
        if work.crashes >= CRASHES:
            reason = f"the app process was lost {work.crashes} times over this message: {event.why}"
            crashed = Answered(work.message.id, now, code=ErrorCode.CLIENT_APP_CRASHED, reason=reason)
            self._sign(work, crashed, now)

    # -- from the app -----------------------------------------------------------------------------------------------

    def answered(self, answer: Answered, now: float) -> None:
        """The app has answered the message.

        Raises:
            IllegalEvent: it does not have that message.
        """
        work = self.in_hand
        if work is None or work.stage is not Stage.AT_APP or work.message.id != answer.message:
            raise IllegalEvent(f"an answer to message {answer.message.hex()}, which the app does not have")
        self._sign(work, answer, now)

    def _sign(self, work: MessageInHand, answer: Answered, now: float) -> None:
        message, own, chain, author = work.message, work.own_key, work.run.chain, self._newest.author
        if message.id in self._kept[work.run.run].replies:  # a collect has shown one that we had forgotten
            self.in_hand = None
            return
        if not self._witnesses.may_answer(work.run, message):  # another server has contradicted it meanwhile
            self._replies.owed[message.id] = message
            self.in_hand = None
            return
        work.stage = Stage.ANSWERED
        reason = ReasonPrivate(reason=answer.reason[: chain.manifest.settings.max_reason_chars])
        body = Reply(
            by=author.member,
            time=now,
            epoch=None if own is None else own.epoch,
            private=private_bytes(reason) if own is None else own.encrypted(reason, message.id),
            run=work.run.run,
            message=message.id,
            dispatch=message.dispatch,
            created=answer.created,
            ttl=message.ttl,
            content=answer.content,
            code=answer.code,
            key=b"" if own is None else own.sealed,
        )
        block = sign_record(body, [author.key_in(chain.manifest)])
        self._outbox.must(Store, lambda _: None, (block,), own=True)
        done = partial(self._is_kept, work, block, answer)
        self._outbox.must(KeepReply, done, work.run.run, message.id, block.cid, answer.state)

    def _is_kept(self, work: MessageInHand, block: Block, answer: Answered, now: float) -> None:
        kept = self._kept[work.run.run]
        kept.replies[work.message.id] = block.cid
        if answer.state is not None:
            kept.states[work.message.id] = answer.state
        self._tell(work, block.cid, answer, now)
        if work is self.in_hand:
            self.in_hand = None
            root = None if answer.content is None else root_hint(answer.content, answer.root, MAX_REPLY_ROOT)
            self._replies.add(work.run, work.message.id, block, now, root)
            self._acks.ack(work.run, now)

    def _tell(self, work: MessageInHand, reply: CID, answer: Answered, now: float) -> None:
        message, seconds = work.message, max(0.0, now - work.since)
        self.outcomes[is_update(message.type), answer.code is None] += 1
        self.round = answer.round if answer.round is not None else self.round
        before, measured = self.answers or NO_ANSWERS, kept(answer.metrics)
        self.answers = Answers(before.count + 1, seconds, renewed(before.metrics, measured))
        id, of = message.id.hex(), {"type": message.type, "round": answer.round, "seconds": round(seconds, 3)}
        if answer.code is None:
            self._outbox.report(What.TASK_ANSWERED, message=id, reply=str(reply), metrics=in_words(measured), **of)
        else:
            name, why = self._newest.manifest.name_of(self._newest.author.member), answer.reason
            self._outbox.report(
                What.TASK_FAILED, name=name, message=id, reply=str(reply), code=answer.code, why=why, **of
            )

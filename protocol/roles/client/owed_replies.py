"""What a client owes a run: messages without a reply, and replies that no collect has taken yet.

A reply is announced again and again until a collect answers its message, or tells of it as late. If its dispatch is
lost by a takeover, and the new leader dispatches the same message, the answer is signed anew for that.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial

from protocol.blocks.cid import CID, Block
from protocol.chain.chain import AnsweredMessage, OpenMessage
from protocol.chain.left_out import LateReply
from protocol.pacing.backoff import Backoff
from protocol.records.bodies import Reply
from protocol.records.signed_records import parse_record, sign_record
from protocol.roles.catch_up import CatchUp
from protocol.roles.client.kept_run import KeptRun
from protocol.roles.effects import FetchRecord, KeepReply, Store, What
from protocol.roles.following.follower_states import FollowerState
from protocol.roles.machine import Machine
from protocol.wire.announcements import ReplyReady


@dataclass(slots=True)
class _Unacknowledged:
    """A reply that no collect has taken yet."""

    run: CatchUp
    message: bytes
    reply: CID
    block: Block | None
    """None after a restart, until it was read: our journal has it if the engine lost it."""
    retry: Backoff
    root: Block | None = None
    """The content's root block, to go along with the reply. Once is enough: who misses it fetches it."""


class OwedReplies:
    """The messages and the replies of the run that is followed."""

    def __init__(self, kept: Mapping[CID, KeptRun], machine: Machine[FollowerState]) -> None:
        self._kept = kept
        self._outbox, self._newest, self._announcer = machine.outbox, machine.newest, machine.announcer
        self.owed: dict[bytes, OpenMessage] = {}
        """Messages for us without a reply, in chain order."""
        self._unacknowledged: dict[bytes, _Unacknowledged] = {}
        self._opened: dict[bytes, int] = {}
        """The heights at which our messages in the chain were opened."""

    def state(self, run: CID) -> CID | None:
        """The app's state after the newest reply to a message that is in the chain: what the app made of one whose
        dispatch is lost is not to be seen in what it does next."""
        states = self._kept[run].states
        return next((state for message, state in reversed(states.items()) if message in self._opened), None)

    def opened(self, run: CatchUp, message: OpenMessage, height: int, now: float) -> bool:
        """A record at ``height`` has a message for us; whether we have yet to answer it."""
        self._opened[message.id] = height
        return self._is_open(run, message, now)

    def fork(self, run: CatchUp, node: int, height: int, now: float) -> None:
        """The records above ``height`` are lost: what they opened is open no more, and what they answered is open
        again. ``node`` is ours."""
        self._opened = {message: at for message, at in self._opened.items() if at <= height}
        announced, self._unacknowledged, self.owed = self._unacknowledged, {}, {}
        for message in (*run.chain.left_out.values(), *run.chain.open.values()):
            if message.id in announced:
                self._unacknowledged[message.id] = announced[message.id]
            elif message.node == node and (message.id in run.chain.open or self._has_reply_to(run, message)):
                self._is_open(run, message, now)

    def _has_reply_to(self, run: CatchUp, message: OpenMessage) -> bool:
        return message.id in self._kept[run.run].replies

    def _is_open(self, run: CatchUp, message: OpenMessage, now: float) -> bool:
        reply = self._kept[run.run].replies.get(message.id)
        if reply is None:
            self.owed[message.id] = message
        else:  # answered before a restart, or for a dispatch that is lost
            self._unacknowledged[message.id] = _Unacknowledged(run, message.id, reply, None, Backoff(now))
        return reply is None

    def add(self, run: CatchUp, message: bytes, block: Block, now: float, root: Block | None = None) -> None:
        """Our reply to a message is on disk: announce it, with the ``root`` of its content if that is given, if no
        collect has answered the message meanwhile, or one has left it out: then a later collect tells of our reply as
        late."""
        self.owed.pop(message, None)
        if message in run.chain.open or message in run.chain.left_out:
            self._unacknowledged[message] = _Unacknowledged(run, message, block.cid, block, Backoff(now), root)
            self.announce(now)

    def collected(self, answer: AnsweredMessage, *, left_out: bool) -> None:
        """A collect has answered the message: nothing more is to be done for it, unless it was ``left_out`` although we
        have a reply to it."""
        message, taken = answer.message.id, answer.reply is not None
        self.owed.pop(message, None)
        if not left_out:
            self._unacknowledged.pop(message, None)
        why = "" if taken else answer.reason
        self._outbox.report(What.TASK_COLLECTED, message=message.hex(), taken=int(taken), why=why)

    def told_of(self, late: LateReply) -> None:
        """A collect tells of our late reply: nothing more is to be done for it."""
        self._unacknowledged.pop(late.message.id, None)
        self._outbox.report(What.TASK_LATE, message=late.message.id.hex(), reply=str(late.reply.cid))

    def leave(self) -> None:
        """Nothing is owed any more."""
        self.owed, self._unacknowledged, self._opened = {}, {}, {}

    # -- announcing -------------------------------------------------------------------------------------------------

    def announce(self, now: float) -> None:
        """Announce the replies that are due."""
        for waiting in list(self._unacknowledged.values()):
            chain = waiting.run.chain
            if waiting.message not in chain.open and waiting.message not in chain.left_out:
                del self._unacknowledged[waiting.message]  # it was left out so long ago that no collect tells of it
            elif now >= waiting.retry.at:
                self._announce(waiting, now)

    def announce_soon(self, now: float) -> None:
        """The leader may have missed what we announced, or needs it signed with another key."""
        for waiting in self._unacknowledged.values():
            waiting.retry.soon(now)

    def moments(self) -> Iterator[float]:
        """When a reply is to be announced."""
        yield from (waiting.retry.at for waiting in self._unacknowledged.values())

    def _announce(self, waiting: _Unacknowledged, now: float) -> None:
        waiting.retry.back_off(now)
        if waiting.block is None:
            done, failed = partial(self._here, waiting), partial(self._not_here, waiting)
            self._outbox.ask(FetchRecord, done, failed, waiting.reply, Reply)
        elif self._is_for_the_dispatch(waiting, waiting.block) and self._is_signed_for_now(waiting, waiting.block):
            ready = ReplyReady(waiting.run.run, waiting.message, waiting.reply)
            along = () if waiting.root is None else (waiting.root,)
            self._announcer.announce(ready, (waiting.block, *along), topic=self._announcer.topic)
            waiting.root = None

    def _is_for_the_dispatch(self, waiting: _Unacknowledged, block: Block) -> bool:
        """Whether the reply names the dispatch of its message in the chain. If that of the time is lost, the same
        answer is signed anew for its successor, and announced once that is kept. Its time is the dispatch's, so that
        it is the same record whenever and by whichever process of ours it is signed."""
        run, reply = waiting.run, parse_record(block).body
        message = run.chain.open.get(waiting.message) or run.chain.left_out.get(waiting.message)
        if message is None or not isinstance(reply, Reply) or reply.dispatch == message.dispatch:
            return True
        anew = replace(reply, dispatch=message.dispatch, time=message.created)
        signed = sign_record(anew, [self._newest.author.key_in(run.chain.manifest)])
        self._outbox.must(Store, partial(self._signed_anew, waiting, signed), (signed,), own=True)
        return False

    def _signed_anew(self, waiting: _Unacknowledged, block: Block, now: float) -> None:
        done = partial(self._is_kept_anew, waiting, block)
        self._outbox.must(KeepReply, done, waiting.run.run, waiting.message, block.cid, None, anew=True)

    def _is_kept_anew(self, waiting: _Unacknowledged, block: Block, now: float) -> None:
        self._kept[waiting.run.run].replies[waiting.message] = block.cid
        self._outbox.report(What.SIGNED_ANEW, message=waiting.message.hex(), reply=str(block.cid))
        self._take(waiting, block, now)

    def _is_signed_for_now(self, waiting: _Unacknowledged, block: Block) -> bool:
        """Whether the reply has the signature that the manifest in force asks for. If our key was rotated since, the
        very same body is signed again and announced then: the reply stays the same
        (`protocol.records.signed_records.Record.id`)."""
        if len(self._newest.author.keys) == 1:
            return True
        record, key = parse_record(block), self._newest.author.key_in(waiting.run.chain.manifest)
        if any(signature.by == key.verify_key.raw for signature in record.signatures):
            return True
        block = sign_record(record.body, [key])
        self._outbox.must(Store, partial(self._take, waiting, block), (block,), own=True)
        return False

    def _here(self, waiting: _Unacknowledged, blocks: Mapping[CID, bytes], now: float) -> None:
        if (data := blocks.get(waiting.reply)) is not None:  # else it was signed anew meanwhile
            self._take(waiting, Block(waiting.reply, data), now)

    def _not_here(self, waiting: _Unacknowledged, why: str, now: float) -> None:
        self._outbox.report(What.FETCH_FAILED, message=waiting.message.hex(), why=why)

    def _take(self, waiting: _Unacknowledged, block: Block, now: float) -> None:
        """Announce the reply as it is in ``block``."""
        waiting.reply, waiting.block = block.cid, block
        if self._unacknowledged.get(waiting.message) is waiting:
            self._announce(waiting, now)

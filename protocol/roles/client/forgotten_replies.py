"""What a client may have signed in a run, and forgotten: its home may be an older copy of itself.

It asks the run's leader (`Recall`) before it signs anything there. The answer (`Recalled`) says how far the run was:
what is dispatched later is new to everybody. Of what was dispatched before, it says which messages have a reply.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial

from protocol.blocks.cid import CID, Block
from protocol.chain.chain import AnsweredMessage
from protocol.chain.left_out import LateReply
from protocol.pacing.backoff import Backoff
from protocol.records.bodies import Ack, Reply
from protocol.roles.catch_up import CatchUp
from protocol.roles.client.kept_run import KeptRun, listed
from protocol.roles.client.owed_replies import OwedReplies
from protocol.roles.effects import FetchRecord, KeepAcks, KeepReply, Store, What
from protocol.roles.following.followed_run import FollowedRun
from protocol.roles.following.follower_states import FollowerState
from protocol.roles.following.members_here import MembersHere
from protocol.roles.machine import Machine
from protocol.wire.announcements import MAX_ASKED, Announcement, Recall, Recalled


class ForgottenReplies:
    """Of the run that is followed. A process without a session has forgotten nothing, and asks nobody."""

    def __init__(
        self,
        kept: Mapping[CID, KeptRun],
        servers: MembersHere,
        followed: FollowedRun,
        replies: OwedReplies,
        machine: Machine[FollowerState],
    ) -> None:
        self._kept = kept
        self._servers = servers
        self._followed = followed
        self._replies = replies
        self._outbox, self._newest = machine.outbox, machine.newest
        self._announcer, self._equivocations = machine.announcer, machine.equivocations
        self._taking_up: set[bytes] = set()
        """Messages whose replies, which we had forgotten, are on their way to disk."""
        self.begin()

    def begin(self) -> None:
        """Another run is followed."""
        self._known_from: int | None = None if self._newest.author.session else -1
        """What is opened above this height was open to nobody when we asked; None before the leader has answered."""
        self._doubtful: dict[bytes, int] = {}
        """The messages that we may have answered, and the heights at which they were opened."""
        self._looked_for: set[CID] = set()
        """Replies that an ack of ours lists, and that are being fetched: they may be to any message."""
        self._retry = Backoff(0.0)

    @property
    def are_known(self) -> bool:
        """Whether the leader has answered: what it has of ours is known, but for `may_answer`."""
        return self._known_from is not None

    def may_answer(self, message: bytes) -> bool:
        """Whether no other reply of ours can be there."""
        return self.are_known and message not in self._doubtful and not self._looked_for

    def opened(self, message: bytes, height: int) -> None:
        """The run has a message for us that this home has no reply to."""
        if self._known_from is None or height <= self._known_from:
            self._doubtful[message] = height
            self._retry.at = min(self._retry.at, self._retry.last)

    def collected(self, run: CatchUp, answer: AnsweredMessage, now: float) -> None:
        """A collect has answered a message. If it takes another reply of ours than the one we kept, somebody else has
        our key; if we kept none, this is the one."""
        message, recorded = answer.message.id, answer.recorded
        ours = self._kept[run.run].replies.get(message)
        if ours is not None and answer.reply is not None and answer.reply.cid != ours:
            self._equivocations.compare(ours, answer.reply.cid, (), now)
        elif ours is None and recorded is not None and message not in self._taking_up:
            self._kept[run.run].replies[message] = recorded
            self._outbox.report(What.RECALLED, message=message.hex(), reply=str(recorded))
            self._outbox.must(KeepReply, lambda _: None, run.run, message, recorded, None)
        self._doubtful.pop(message, None)

    def told_of(self, run: CatchUp, late: LateReply) -> None:
        """A collect tells of a late reply of ours. If we kept none to its message, this is the one."""
        message, reply = late.message.id, late.reply.cid
        if message not in self._kept[run.run].replies and message not in self._taking_up:
            self._kept[run.run].replies[message] = reply
            self._outbox.report(What.RECALLED, message=message.hex(), reply=str(reply))
            self._outbox.must(KeepReply, lambda _: None, run.run, message, reply, None)

    def ask_anew(self) -> None:
        """Another server leads, or records are lost. The one before may not have known how far the run was when we
        asked it, so that what we were not told of may have been answered: ask this one."""
        if self._newest.author.session:
            self._known_from = None
            self._doubtful = dict.fromkeys(self._replies.owed, -1)
            self._retry.at = min(self._retry.at, self._retry.last)

    # -- asking -----------------------------------------------------------------------------------------------------

    def _asked(self) -> CatchUp | None:
        """The run whose leader is to tell us what it has of ours."""
        run = self._followed.run
        is_heard = run is not None and not run.chain.closed and run.leader in self._servers.here
        return run if is_heard and (self._doubtful or not self.are_known) else None

    def ask(self, now: float) -> None:
        """Ask the leader, if it is time."""
        if (run := self._asked()) is not None and now >= self._retry.at:
            self._retry.back_off(now)
            self._announcer.announce(Recall(self._newest.author.session, run.run, tuple(self._doubtful)[:MAX_ASKED]))

    def ask_soon(self, by: bytes, now: float) -> None:
        """A member speaks: if it is the leader, it hears us again."""
        if self._followed.run is not None and by == self._followed.run.leader:
            self._retry.soon(now)

    def moments(self) -> Iterator[float]:
        """When the leader is to be asked."""
        if self._asked() is not None:
            yield self._retry.at

    # -- taking up --------------------------------------------------------------------------------------------------

    def heard(self, said: Announcement, told: Recalled, now: float) -> None:
        """The leader says what it has of ours: take that up. It can only keep us from answering in its own run."""
        run, position, author = self._followed.run, told.position, self._newest.author
        asked = told.to == author.member and told.session == author.session
        if not asked or run is None or said.by != run.leader or position is None or position.run != run.run:
            return
        run.hear(position, ())
        here = {block.cid: block for block in said.blocks}
        if told.ack is not None and told.ack in here:
            self._take_up_ack(run, here[told.ack])
        if self._known_from is None:
            self._known_from = position.height
            self._doubtful = {message: at for message, at in self._doubtful.items() if at <= position.height}
        for known in told.answers:
            if known.record is None:
                self._doubtful.pop(known.message, None)
        for known in told.answers:
            if known.record is not None and known.record in here and known.message in self._doubtful:
                self._take_up_reply(run, known.message, here[known.record])

    def _take_up_ack(self, run: CatchUp, block: Block) -> None:
        """Note an ack that we had forgotten: no other may be at its place, nor any before it."""
        ack, kept = self._newest.author.own_body(block), self._kept[run.run]
        if not isinstance(ack, Ack) or ack.run != run.run or (ack.term, ack.height) <= kept.acked:
            return
        for reply in sorted(listed(ack).difference(kept.replies.values())):
            self._looked_for.add(reply)
            self._outbox.ask(FetchRecord, partial(self._here, reply), partial(self._not_here, reply), reply, Reply)
        kept.keep_ack(ack)
        self._outbox.report(What.RECALLED, ack=str(block.cid), height=ack.height)
        self._outbox.must(KeepAcks, lambda _: None, run.run, (block,))

    def _here(self, cid: CID, blocks: Mapping[CID, bytes], now: float) -> None:
        self._looked_for.discard(cid)
        block = Block(cid, blocks[cid])
        reply = self._newest.author.own_body(block)
        if isinstance(reply, Reply) and self._followed.run is not None:
            self._take_up_reply(self._followed.run, reply.message, block)

    def _not_here(self, cid: CID, why: str, now: float) -> None:
        """Nobody has it: nobody can take it for our answer."""
        self._looked_for.discard(cid)
        self._outbox.report(What.FETCH_FAILED, cid=str(cid), why=why)

    def _take_up_reply(self, run: CatchUp, message: bytes, block: Block) -> None:
        """Keep a reply that we had forgotten, and that no collect has taken yet."""
        reply = self._newest.author.own_body(block)
        is_new = message in self._replies.owed and message not in self._taking_up
        if not is_new or not isinstance(reply, Reply) or (reply.run, reply.message) != (run.run, message):
            return
        self._taking_up.add(message)
        self.opened(message, -1)
        self._outbox.must(Store, partial(self._stored, run, message, block), (block,), own=True)

    def _stored(self, run: CatchUp, message: bytes, block: Block, now: float) -> None:
        done = partial(self._is_kept, run, message, block)
        self._outbox.must(KeepReply, done, run.run, message, block.cid, None)

    def _is_kept(self, run: CatchUp, message: bytes, block: Block, now: float) -> None:
        self._taking_up.discard(message)
        self._kept[run.run].replies[message] = block.cid
        self._outbox.report(What.RECALLED, message=message.hex(), reply=str(block.cid))
        if self._followed.run is run:
            self._doubtful.pop(message, None)
            self._replies.add(run, message, block, now)

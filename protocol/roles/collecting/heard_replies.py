"""Replies at the leader: heard of, fetched, judged, examined, and put beside the messages that await them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Final

from protocol.app.calls import Examine, Handed
from protocol.blocks.cid import CID, Block, BlockError
from protocol.blocks.root_hints import root_among
from protocol.chain.chain import OpenMessage, check_reply
from protocol.chain.replay_script import hand_over
from protocol.federation.manifest import node_id
from protocol.pacing.backoff import SLOWEST_RETRY
from protocol.records.bodies import Reply
from protocol.records.equivocation import equivocation, says_the_same
from protocol.records.signed_records import Record, parse_record, record_block
from protocol.replies.checks_and_limits import Admission, Examination, is_update
from protocol.roles.collecting.awaited_replies import Arrived, AwaitedReplies
from protocol.roles.collecting.late_replies import LateReplies
from protocol.roles.effects import FetchRecord, What
from protocol.roles.equivocations import TIMES
from protocol.roles.leader.leader_states import LeaderState
from protocol.roles.leader.record_writer import RecordWriter
from protocol.roles.machine import Machine
from protocol.roles.unchecked_claims import UncheckedClaims
from protocol.status.best_seen import BestSeen
from protocol.status.measures import measures_in, renewed
from protocol.status.role_status import NO_ANSWERS, Answers
from protocol.wire.announcements import ReplyReady

REPLIES_SIDE_BY_SIDE: Final = 2
"""Answers of one client that are looked into at a time; an app works on one after the other."""

NAMED: Final = 5
"""Clients that a report of those left out names."""


@dataclass(frozen=True, slots=True)
class _LookedInto:
    """An answer that is being looked into: whose it is, and its record."""

    by: bytes
    record: CID


class HeardReplies:
    """The way of a reply from the word of its client to the message that awaits it."""

    def __init__(
        self,
        awaited_replies: AwaitedReplies,
        admission: Admission,
        best: BestSeen,
        late: LateReplies,
        writer: RecordWriter,
        machine: Machine[LeaderState],
    ) -> None:
        self.best = best
        self._awaited_replies = awaited_replies
        self._admission = admission
        self.late = late
        """Those that came too late for their exchange."""
        self._writer = writer
        self._newest, self._equivocations, self._outbox = machine.newest, machine.equivocations, machine.outbox
        self._looked_into: dict[bytes, _LookedInto] = {}
        """By message."""
        self._claims = UncheckedClaims(REPLIES_SIDE_BY_SIDE, SLOWEST_RETRY)
        self._of_lost: dict[bytes, CID] = {}
        """To open messages, replies that name another dispatch, which a takeover has lost: their clients sign them
        anew."""
        self._first: dict[bytes, Record] = {}
        """The first good answer to an open message: another one is equivocation, and not fetched."""
        self._rounds: dict[bytes, int] = {}
        """Of open messages that this process has sent, if the app names their round: for people."""
        self.round: int | None = None
        """The newest of them."""
        self.answers: dict[int, Answers] = {}
        """What each client has answered so far, by node, for people."""

    def reply_of(self, by: bytes, message: bytes) -> tuple[CID | None, Block | None]:
        """A client's reply to a message, and its block if that is here."""
        if (first := self._first.get(message)) is not None:
            return (first.cid, record_block(first)) if first.body.by == by else (None, None)
        looked_into = self._looked_into.get(message)
        return self._awaited_replies.reply_to(message) or (looked_into.record if looked_into else None), None

    # -- on its way -------------------------------------------------------------------------------------------------

    def heard(self, by: bytes, ready: ReplyReady, inline: tuple[Block, ...], now: float) -> None:
        """Look into an answer that its addressee says it has. Nobody else's word counts: what it names may be nobody's,
        and the true answer would have to wait for that."""
        chain = self._writer.chain
        if chain.head is None or ready.run != chain.run:
            return
        taken = self._awaited_replies.reply_to(ready.message)
        if taken is not None and taken != ready.record:
            self._equivocations.compare(taken, ready.record, inline, now)
        asked = chain.open.get(ready.message)
        if asked is None:
            if not self.late.heard(by, ready, inline, now):  # its client has not heard of the collect
                self._writer.remind(now)
            return
        if self._of_lost.get(ready.message) == ready.record:  # its client has not verified the takeover yet
            self._writer.remind(now)
            return
        known = self._awaited_replies.has(ready.message) or ready.message in self._looked_into
        if asked.node != node_id(by) or known or not self._claims.may_open(by, now):
            return
        self._claims.open(by)
        self._looked_into[ready.message] = _LookedInto(by, ready.record)
        block = next((block for block in inline if block.cid == ready.record), None)
        if block is not None:
            self._judge(ready.message, block, now, inline)
        else:
            fetched, lost = partial(self._fetched, ready), partial(self._lost, ready.message)
            self._outbox.ask(FetchRecord, fetched, lost, ready.record, Reply)

    def _fetched(self, ready: ReplyReady, blocks: Mapping[CID, bytes], now: float) -> None:
        self._judge(ready.message, Block(ready.record, blocks[ready.record]), now)

    def _lost(self, message: bytes, why: str, now: float) -> None:
        """Its client announces it again."""
        self._claims.failed(self._looked_into.pop(message).by, now)
        self._outbox.report(What.FETCH_FAILED, message=message.hex(), why=why)

    def _judge(self, message: bytes, block: Block, now: float, inline: Iterable[Block] = ()) -> None:
        """Take a reply that would be good in a collect made now; fetch its content, unless its root is ``inline``, and
        have it examined first."""
        try:
            arrived = Arrived(parse_record(block), block)
            if self._is_late(message, arrived):
                return
        except BlockError as error:
            self._refuse(message, str(error), now)
            return
        if self._is_of_lost(message, arrived, now):
            return
        why = self._why_bad(message, arrived) or self._why_not_first(message, arrived.record, now)
        if why is not None:
            self._refuse(message, why, now)
        elif arrived.body.content is None:
            self._arrived(message, arrived, now)
        else:
            self._examine(message, arrived, arrived.body.content, root_among(arrived.body.content, inline))

    def _is_of_lost(self, message: bytes, arrived: Arrived, now: float) -> bool:
        """Whether a reply names another dispatch than the one in which its message is open, as after a takeover that
        lost that. It is not taken, and its client is told how far the run is: then it signs the same answer anew. The
        first such reply to a message is no fault of its client's."""
        chain, reply = self._writer.chain, arrived.record.body
        asked = chain.open.get(message)
        if asked is None or not isinstance(reply, Reply) or reply.run != chain.run or reply.dispatch == asked.dispatch:
            return False
        if chain.term == 1 or message in self._of_lost:
            return False
        if len(self._of_lost) > 2 * len(chain.open):
            self._of_lost = {message: lost for message, lost in self._of_lost.items() if message in chain.open}
        self._of_lost[message] = arrived.record.cid
        self._claims.held(self._looked_into.pop(message).by)
        self.refused(message, "it answers a dispatch that a takeover has lost, and has to be signed anew for this one")
        self._writer.remind(now)
        return True

    def _why_not_first(self, message: bytes, reply: Record, now: float) -> str | None:
        """Why a good reply is refused that is not the first one to its message: both together are a proof."""
        open = self._writer.chain.open
        if len(self._first) > 2 * len(open):
            self._first = {message: first for message, first in self._first.items() if message in open}
        first = self._first.setdefault(message, reply)
        if says_the_same(first, reply):
            return None
        if (found := equivocation(first, reply)) is not None:
            self._equivocations.convict(found, TIMES, now)
        return "its client has answered the message before, otherwise"

    def _examine(self, message: bytes, arrived: Arrived, content: CID, root: Block | None) -> None:
        chain, admission = self._writer.chain, self._admission
        asked = chain.open[message]
        update = is_update(asked.type)
        self._outbox.ask(
            Examine,
            partial(self._examined, message, arrived),
            partial(self._lost, message),
            message=message,
            sent=asked.content,
            sent_key=chain.keys.content(asked.epoch),
            reply=content,
            reply_key=chain.keys.reply_content(arrived.body),
            limits=admission.limits(chain.manifest.settings.max_content_bytes),
            update=update,
            measure=update and admission.bound is not None,
            root=root,
        )

    def _examined(self, message: bytes, arrived: Arrived, found: Examination, now: float) -> None:
        """A manifest that came into force meanwhile may have taken its author or key out."""
        try:
            if self._is_late(message, arrived):
                return
        except BlockError as error:
            self._refuse(message, str(error), now)
            return
        if (why := self._why_bad(message, arrived)) is not None:
            self._refuse(message, why, now)
        else:
            self._arrived(message, replace(arrived, found=found), now)

    def _is_late(self, message: bytes, arrived: Arrived) -> bool:
        """Whether the exchange has closed while the reply was looked into. Raises as `LateReplies.came`."""
        if not self.late.came(message, arrived.record, arrived.block):
            return False
        self._claims.held(self._looked_into.pop(message).by)
        return True

    def _why_bad(self, message: bytes, arrived: Arrived) -> str | None:
        """Why the reply would be refused, None if it would not."""
        chain = self._writer.chain
        if message not in chain.open:
            return "the message is no longer open"
        try:
            check_reply(arrived.record, chain.open[message], chain.in_force)
        except BlockError as error:
            return str(error)
        return None

    def _refuse(self, message: bytes, why: str, now: float) -> None:
        self._claims.failed(self._looked_into.pop(message).by, now)
        self.refused(message, why)

    def _arrived(self, message: bytes, arrived: Arrived, now: float) -> None:
        self._claims.held(self._looked_into.pop(message).by)
        self._awaited_replies.arrived(message, arrived)
        name = self._newest.manifest.name_of(arrived.body.by)
        self._outbox.report(What.REPLY_ARRIVED, name=name, message=message.hex())
        self._count(self._writer.chain.open[message], arrived, now)
        self.best.arrived(message, arrived.found.layout)
        if arrived.body.code is not None:
            handed = hand_over(arrived.record.cid, arrived.body, self._writer.chain.keys)
            self._outbox.report(What.REPLY_FAILED, **self._named(message), code=arrived.body.code, why=handed.reason)

    def forget_the_bad(self) -> None:
        """Another manifest is in force, or more records are: some replies that came may not be good any more."""
        self._awaited_replies.keep_if(lambda message, arrived: self._why_bad(message, arrived) is None)
        self.late.forget_the_bad()

    # -- for people -------------------------------------------------------------------------------------------------

    def sent(self, rounds: Mapping[bytes, int]) -> None:
        """Messages are dispatched, in those rounds of the app's."""
        self._rounds.update(rounds)
        self.round = max(rounds.values(), default=self.round)

    def _count(self, asked: OpenMessage, arrived: Arrived, now: float) -> None:
        before = self.answers.get(asked.node, NO_ANSWERS)
        metrics = renewed(before.metrics, measures_in(arrived.found.layout))
        self.answers[asked.node] = Answers(before.count + 1, max(0.0, now - asked.created), metrics)

    def refused(self, message: bytes, why: str) -> None:
        """Tell that the reply to a message is refused."""
        chain = self._writer.chain
        asked = chain.open.get(message)
        member = chain.manifest.member_by_node(asked.node) if asked else None
        name = chain.manifest.name_of(member.id) if member else "somebody"
        self._outbox.report(What.REPLY_REFUSED, name=name, message=message.hex(), why=why)

    def left_out(self, messages: Iterable[bytes], why: str) -> None:
        """Tell whose replies an exchange did not wait for."""
        chain = self._writer.chain
        nodes = [chain.open[message].node for message in messages]
        self.late.left_out(nodes)
        if nodes:
            members = (chain.manifest.member_by_node(node) for node in nodes)
            names = sorted(chain.manifest.name_of(member.id) for member in members if member is not None)
            whom = ", ".join(names[:NAMED])
            self._outbox.report(What.LEFT_OUT, whom=whom, clients=len(nodes), why=why, round=self.round)

    def given_up(self, message: bytes, why: str) -> None:
        """Tell that no reply to a message is waited for any more."""
        self._outbox.report(What.MESSAGE_GIVEN_UP, **self._named(message), why=why)

    def collected(self, handed: tuple[Handed, ...]) -> None:
        """The app is given these, to messages that are still open."""
        chain = self._writer.chain
        self.best.collected(handed, chain.open, self._rounds)
        self.late.in_time(chain.open[each.message].node for each in handed if each.code is None)
        for answered in handed:
            self._rounds.pop(answered.message, None)

    def _named(self, message: bytes) -> dict[str, str | int | None]:
        """What people know an open message by."""
        chain = self._writer.chain
        asked = chain.open[message]
        member = chain.manifest.member_by_node(asked.node)
        name = chain.manifest.name_of(member.id) if member else "a client that was removed"
        return {"name": name, "message": message.hex(), "type": asked.type, "round": self._rounds.get(message)}

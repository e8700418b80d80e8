"""Messages whose replies an exchange did not wait for, and replies that came late to them: their chain rules.

A run record may say when an exchange closes early (`protocol.replies.closing_rule`). Then a collect names the messages
that it left out. A later collect tells of the replies that came to them after all. The app never gets those, so they
are in the collect as bytes and not as links: what they hold is fetched and kept by nobody but their authors.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from protocol.blocks.cid import BlockSource, cbor_data_block
from protocol.chain import rules
from protocol.chain.exchange import AnsweredMessage, InForce, OpenMessage, check_reply
from protocol.records.bodies import Collect, MessageId, Reply
from protocol.records.signed_records import Record, parse_record, typed_items

REMEMBERED: Final = 2
"""Messages that were left out, of one client, to which a reply may still be told of. A client answers one message at a
time, and leaves a message alone that was left out before its app had it: so one is at its app, and one on its way."""


@dataclass(frozen=True, slots=True)
class LateReply:
    """A reply that came after its message was left out."""

    message: OpenMessage
    """As it was while it was open."""
    reply: Record
    """Its body is a `protocol.records.bodies.Reply`."""


class LeftOutMessages:
    """The messages that were left out, and of which no reply is told yet: the newest of each client."""

    def __init__(self) -> None:
        self._messages: dict[bytes, OpenMessage] = {}

    def copy(self) -> LeftOutMessages:
        """These messages, apart from what becomes of them here."""
        other = LeftOutMessages()
        other._messages = self._messages.copy()
        return other

    @property
    def by_id(self) -> Mapping[bytes, OpenMessage]:
        """By id, in the order in which they were left out."""
        return MappingProxyType(self._messages)

    def advance(self, left_out: Collection[OpenMessage], late: Collection[LateReply]) -> None:
        """A collect left these out, and told of those."""
        for each in late:
            del self._messages[each.message.id]
        if not left_out:
            return
        self._messages |= {message.id: message for message in left_out}
        newer: Counter[int] = Counter()
        for message in reversed(list(self._messages.values())):
            newer[message.node] += 1
            if newer[message.node] > REMEMBERED:
                del self._messages[message.id]


def left_out_messages(
    body: Collect,
    in_force: InForce,
    answered: Mapping[bytes, AnsweredMessage],
    still_open: Mapping[bytes, OpenMessage],
    source: BlockSource,
) -> list[OpenMessage]:
    """The messages that the collect left out, in its order. ``answered`` is what it answers.

    Raises:
        protocol.chain.rules.LeftOut: if it should have waited.
    """
    left_out: dict[bytes, OpenMessage] = {}
    for key in typed_items(body.messages_left_out, MessageId, source):
        answer = answered.get(key)
        if answer is None or answer.error is None or answer.recorded is not None:
            raise rules.LeftOut(f"message {key.hex()} is not answered here by an error without a reply")
        if key in left_out:
            raise rules.LeftOut(f"message {key.hex()} is named twice")
        left_out[key] = answer.message
    if not left_out:
        return []
    if in_force.closing is None:
        raise rules.LeftOut("the run record does not say that an exchange may close early")
    asked = Counter(message.dispatch for message in still_open.values())
    good = Counter(answer.message.dispatch for answer in answered.values() if _is_good(answer))
    for dispatch in {message.dispatch for message in left_out.values()}:
        if good[dispatch] < (needed := in_force.closing.needs(asked[dispatch])):
            raise rules.LeftOut(f"it hands over {good[dispatch]} replies with a content, and needs {needed}")
    return list(left_out.values())


def _is_good(answer: AnsweredMessage) -> bool:
    return answer.reply is not None and isinstance(answer.reply.body, Reply) and answer.reply.body.content is not None


def late_replies(
    body: Collect, in_force: InForce, left_out: Mapping[bytes, OpenMessage], source: BlockSource
) -> Iterator[LateReply]:
    """The late replies that the collect tells of. ``left_out`` is what collects before it left out.

    Raises:
        protocol.chain.rules.LateReplies: if one is to another message, or told of twice.
        protocol.chain.rules.BrokenRule: if it is no reply that a collect could have taken.
    """
    told: set[bytes] = set()
    for data in typed_items(body.late_replies, bytes, source):
        reply = parse_record(cbor_data_block(data))
        if not isinstance(reply.body, Reply):
            raise rules.ReplyType(f"what is called a late reply is a {reply.body.TYPE}")
        message = left_out.get(reply.body.message)
        if message is None or message.id in told:
            raise rules.LateReplies(f"message {reply.body.message.hex()} is not among those left out, or told of twice")
        check_reply(reply, message, in_force)
        told.add(message.id)
        yield LateReply(message, reply)

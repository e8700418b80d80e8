"""What a dispatch opens and a collect answers: the chain rules of one exchange (`protocol.chain.rules` 21 to 35)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

from protocol.blocks.cid import CID, BlockError, BlockSource
from protocol.chain import rules
from protocol.chain.epoch_rules import check_reply_epoch
from protocol.federation.manifest import Manifest
from protocol.federation.run_keys import RunKeys, read_private
from protocol.records.bodies import (
    Body,
    Collect,
    CollectPrivate,
    Dispatch,
    DispatchPrivate,
    GridError,
    Group,
    Member,
    MessageId,
    ReasonPrivate,
    Reply,
    Role,
    TakenReply,
)
from protocol.records.message_ids import message_id
from protocol.records.signed_records import Record, WellSigned, answers, checked_record, typed_items
from protocol.replies.closing_rule import ClosingRule

P = TypeVar("P")


@dataclass(frozen=True, slots=True)
class OpenMessage:
    """A dispatched message that no collect has answered yet."""

    id: bytes
    node: int
    dispatch: CID
    height: int
    """The height of the dispatch."""
    leader: bytes
    """The member that leads the run there."""
    epoch: int | None
    """The epoch of the dispatch, and so of the content."""
    content: CID
    type: str
    """``type`` and ``group`` are empty if the dispatch's private part cannot be read."""
    group: str
    ttl: int | float
    created: float
    """The dispatch's time, in seconds since 1970."""


@dataclass(frozen=True, slots=True)
class AnsweredMessage:
    """The answer of a collect to one message: the client's ``reply``, or the Grid's ``error``."""

    message: OpenMessage
    reply: Record | None
    """Its body is a `protocol.records.bodies.Reply`."""
    error: GridError | None
    reason: str
    """The reason of the error, the Grid's or the client's; empty if there is no error or it cannot be read."""

    @property
    def recorded(self) -> CID | None:
        """The client's reply, taken or refused; None if no reply is recorded."""
        if self.reply is not None:
            return self.reply.cid
        return None if self.error is None else self.error.refused


@dataclass(frozen=True, slots=True)
class InForce:
    """By what a record is judged at its place in the chain."""

    run: CID
    manifest: Manifest
    keys: RunKeys
    """As far as the reader can read them."""
    well_signed: WellSigned
    """Records whose signatures are not verified again."""
    closing: ClosingRule | None = None
    """By what an exchange may close early; None if it may not."""
    voters_before: frozenset[bytes] = frozenset()
    """Of whom a takeover needs a majority too, besides the voters by the manifest; empty if of nobody."""


def private_of(body: Body, kind: type[P], keys: RunKeys) -> P | None:
    """As `protocol.federation.run_keys.read_private`; raises `protocol.chain.rules.PrivatePart` if it is malformed."""
    try:
        return read_private(body, kind, keys)
    except BlockError as error:
        raise rules.PrivatePart(f"the private part of a {body.TYPE}: {error}") from error


def client_at(manifest: Manifest, node: int) -> Member | None:
    """The client member with node id ``node``."""
    member = manifest.member_by_node(node)
    return member if member is not None and Role.CLIENT in member.roles else None


# -- dispatch ------------------------------------------------------------------------------------------------------


def opened_messages(
    record: Record,
    body: Dispatch,
    in_force: InForce,
    *,
    ordinals: Mapping[int, int],
    still_open: Mapping[bytes, OpenMessage],
    last_look: tuple[int, ...],
    source: BlockSource,
) -> dict[bytes, OpenMessage]:
    """The messages that ``body`` sends, by id and in order. ``ordinals`` says how many each node was sent before.

    ``last_look`` is the newest that the app saw. The app may ask a node in it that has left the federation since.

    Raises:
        protocol.chain.rules.BrokenRule: if a message must not be sent.
    """
    private = private_of(body, DispatchPrivate, in_force.keys)
    kinds = private.kinds if private is not None else None
    if kinds is not None and len(set(kinds)) != len(kinds):
        raise rules.GroupKind("a kind of message is listed twice")
    opened: dict[bytes, OpenMessage] = {}
    sent: Counter[int] = Counter()
    for group in typed_items(body.groups, Group, source):
        kind, flower_group = _kind_of(group, kinds)
        for key, node in group.to:
            if client_at(in_force.manifest, node) is None and node not in last_look:
                raise rules.Addressee(f"node {node} is no client member in manifest {in_force.manifest.cid}")
            if key in opened or key in still_open:
                raise rules.MessageUnique(f"message {key.hex()} is open already")
            ordinal = ordinals.get(node, 0) + sent[node]
            if kinds is not None and key != message_id(in_force.run, node, ordinal, group.content, kind):
                raise rules.MessageIdTrue(
                    f"message {key.hex()} is not number {ordinal} to node {node} with its content"
                )
            sent[node] += 1
            opened[key] = OpenMessage(
                id=key,
                node=node,
                dispatch=record.cid,
                height=body.height,
                leader=body.by,
                epoch=body.epoch,
                content=group.content,
                type=kind,
                group=flower_group,
                ttl=group.ttl,
                created=body.time,
            )
    if not opened:
        raise rules.DispatchEmpty("no message")
    return opened


def _kind_of(group: Group, kinds: tuple[tuple[str, str], ...] | None) -> tuple[str, str]:
    if not group.to:
        raise rules.DispatchEmpty("a group without an addressee")
    if kinds is None:
        return "", ""
    if group.kind >= len(kinds):
        raise rules.GroupKind(f"kind {group.kind} of {len(kinds)}")
    return kinds[group.kind]


# -- collect -------------------------------------------------------------------------------------------------------


def answered_messages(
    body: Collect,
    in_force: InForce,
    *,
    still_open: Mapping[bytes, OpenMessage],
    source: BlockSource,
) -> dict[bytes, AnsweredMessage]:
    """The messages that ``body`` answers, by id and in order.

    Raises:
        protocol.chain.rules.BrokenRule: if an answer must not be handed to the app.
    """
    private = private_of(body, CollectPrivate, in_force.keys)
    reasons = private.reasons if private is not None else None
    if reasons is not None and len(set(reasons)) != len(reasons):
        raise rules.ErrorReason("a reason is listed twice")
    answered: dict[bytes, AnsweredMessage] = {}
    for answer in answers(body, source):
        result = _answer(answer, reasons, still_open, in_force, source)
        if result.message.id in answered:
            raise rules.AnswersOpen(f"message {result.message.id.hex()} is answered twice")
        answered[result.message.id] = result
    _check_unanswered(body, still_open, answered, source)
    return answered


def _answer(
    answer: TakenReply | GridError,
    reasons: tuple[str, ...] | None,
    still_open: Mapping[bytes, OpenMessage],
    in_force: InForce,
    source: BlockSource,
) -> AnsweredMessage:
    if isinstance(answer, TakenReply):
        reply, body = _reply(answer.reply, source)
        message = _still_open(body.message, still_open)
        check_reply(reply, message, in_force)
        return AnsweredMessage(message, reply, None, _reply_reason(body, in_force.keys))
    message = _still_open(answer.message, still_open)
    if answer.refused is not None:
        check_reply(_reply(answer.refused, source)[0], message, in_force)
    return AnsweredMessage(message, None, answer, _grid_reason(answer, reasons))


def _reply(cid: CID, source: BlockSource) -> tuple[Record, Reply]:
    record = checked_record(cid, source)
    if not isinstance(record.body, Reply):
        raise rules.ReplyType(f"{cid} is a {record.body.TYPE}")
    return record, record.body


def _still_open(key: bytes, still_open: Mapping[bytes, OpenMessage]) -> OpenMessage:
    message = still_open.get(key)
    if message is None:
        raise rules.AnswersOpen(f"message {key.hex()} is not open")
    return message


def _grid_reason(error: GridError, reasons: tuple[str, ...] | None) -> str:
    if reasons is None:
        return ""
    if error.why >= len(reasons):
        raise rules.ErrorReason(f"reason {error.why} of {len(reasons)}")
    return reasons[error.why]


def _check_unanswered(
    body: Collect,
    still_open: Mapping[bytes, OpenMessage],
    answered: Mapping[bytes, AnsweredMessage],
    source: BlockSource,
) -> None:
    named: set[bytes] = set()
    for key in typed_items(body.unanswered, MessageId, source):
        if key in named or key in answered or key not in still_open:
            raise rules.UnansweredOpen(f"message {key.hex()} is not open after this, or named twice")
        named.add(key)
    if not named and not answered:
        raise rules.CollectEmpty("no answer, and nothing unanswered")


# -- reply ---------------------------------------------------------------------------------------------------------


def check_reply(reply: Record, message: OpenMessage, in_force: InForce) -> None:
    """Judge a reply as a collect that takes it will be judged. ``in_force`` is what holds at that collect.

    Raises:
        protocol.chain.rules.BrokenRule: the rule that it breaks.
    """
    body = reply.body
    if not isinstance(body, Reply):
        raise rules.ReplyType(f"{reply.cid} is a {body.TYPE}")
    if (body.run, body.message, body.dispatch) != (in_force.run, message.id, message.dispatch):
        raise rules.ReplyNames(f"{reply.cid} answers another message than {message.id.hex()}")
    manifest = in_force.manifest
    member = client_at(manifest, message.node)
    if member is None or body.by != member.id:
        raise rules.ReplyAuthor(f"{reply.cid} is not by the client member with node id {message.node}")
    if reply.signers != (member.signing,):
        raise rules.ReplyKey(f"{reply.cid} is not signed with {manifest.called(member.id)}'s key")
    if (body.content is None) == (body.code is None):
        raise rules.ReplyAnswer(f"{reply.cid} has neither or both of a content and an error code")
    check_reply_epoch(body, in_force.keys)
    rules.check_signed(reply, in_force.well_signed)
    reason = _reply_reason(body, in_force.keys)
    limit = manifest.settings.max_reason_chars if body.content is None else 0
    # a reader that cannot read the federation's limit does not judge by it
    if len(reason) > limit and (manifest.readable or body.content is not None):
        raise rules.ReplyReason(f"{reply.cid} has a reason of {len(reason)} characters")


def _reply_reason(body: Reply, keys: RunKeys) -> str:
    private = private_of(body, ReasonPrivate, keys)
    return private.reason if private is not None else ""

"""The script of a replay: what each record of a chain says to the app (design section 9)."""

from __future__ import annotations

from protocol.app_calls import (
    CloseEntry,
    CollectEntry,
    DispatchEntry,
    EntryHead,
    Glimpse,
    Handed,
    Outgoing,
    QuietEntry,
    Scripted,
    ScriptEntry,
)
from protocol.blocks import CID, Block, BlockSource
from protocol.reading import read_private
from protocol.records import (
    Chained,
    Close,
    Collect,
    CollectPrivate,
    Dispatch,
    DispatchPrivate,
    GridError,
    Group,
    Look,
    MessageId,
    Outcome,
    ReasonPrivate,
    Reply,
    TakenReply,
)
from protocol.signed import Record, RecordError, answers, parse_record, typed_items


class Unreadable(RecordError):
    """A record whose private part is encrypted for others: a replay needs it."""


def script_entry(record: Record, source: BlockSource, call: int) -> ScriptEntry:
    """The entry of a verified record, as the answer to ``call``.

    Raises:
        Unreadable: where it is encrypted for others.
        protocol.blocks.BlockError: where a block of the record's closure is missing or malformed.
    """
    body = record.body
    if not isinstance(body, Chained):
        raise RecordError(f"{record.cid} is a {body.TYPE}, which is in no chain")
    looks = tuple(Glimpse(look.nodes, look.count) for look in typed_items(body.looks, Look, source))
    head = EntryHead(body.height, looks, body.empties)
    match body:
        case Dispatch():
            return DispatchEntry(call, head, body.time, _messages(record.cid, body, source))
        case Collect():
            unanswered = tuple(typed_items(body.unanswered, MessageId, source))
            return CollectEntry(call, head, _replies(record.cid, body, source), unanswered)
        case Close():
            return CloseEntry(call, head, body.outcome is Outcome.RAISED, body.model)
        case _:
            return QuietEntry(call, head)


def hand_over(reply: Reply) -> Handed:
    """A client's reply as the app sees it."""
    private = read_private(reply, ReasonPrivate)
    return Handed(reply.message, reply.created, reply.content, reply.code, private.reason if private else "")


def _messages(cid: CID, body: Dispatch, source: BlockSource) -> tuple[Scripted, ...]:
    private = read_private(body, DispatchPrivate)
    if private is None:
        raise Unreadable(f"the dispatch {cid} is encrypted for others")
    return tuple(
        Scripted(id, Outgoing(group.content, *private.kinds[group.kind], group.ttl, node))
        for group in typed_items(body.groups, Group, source)
        for id, node in group.to
    )


def _replies(cid: CID, body: Collect, source: BlockSource) -> tuple[Handed, ...]:
    private = read_private(body, CollectPrivate)
    if private is None:
        raise Unreadable(f"the collect {cid} is encrypted for others")
    return tuple(_handed(answer, private.reasons, source) for answer in answers(body, source))


def _handed(answer: TakenReply | GridError, reasons: tuple[str, ...], source: BlockSource) -> Handed:
    if isinstance(answer, GridError):
        return Handed(answer.message, answer.created, code=answer.code, reason=reasons[answer.why])
    reply = parse_record(Block(answer.reply, source.get(answer.reply))).body
    if not isinstance(reply, Reply):
        raise RecordError(f"{answer.reply} is a {reply.TYPE}, not a reply")
    return hand_over(reply)

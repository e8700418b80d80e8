"""The script of a replay: what each record of a chain says to the app."""

from __future__ import annotations

from protocol.app.calls import (
    CloseEntry,
    CollectEntry,
    DispatchEntry,
    EntryHead,
    Handed,
    Outgoing,
    QuietEntry,
    Scripted,
    ScriptEntry,
)
from protocol.blocks.cid import CID, BlockSource
from protocol.federation.run_keys import RunKeys, read_private
from protocol.records.bodies import (
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
from protocol.records.signed_records import Record, RecordError, answers, read_record, typed_items


class UnreadableRecord(RecordError):
    """A record that a replay needs, and whose private part is encrypted for others."""


def script_entry(record: Record, keys: RunKeys, source: BlockSource, call: int) -> ScriptEntry:
    """The entry of a verified record, as the answer to ``call``. ``keys`` are the keys of the whole run.

    Raises:
        UnreadableRecord: if it is encrypted for others.
        protocol.blocks.cid.BlockError: if a block of the record's closure is missing or malformed.
    """
    body = record.body
    if not isinstance(body, Chained):
        raise RecordError(f"{record.cid} is a {body.TYPE}, which is in no chain")
    looks = tuple(typed_items(body.looks, Look, source))
    head = EntryHead(body.height, looks, body.empties, keys.content(body.epoch))
    match body:
        case Dispatch():
            return DispatchEntry(call, head, body.time, _messages(record.cid, body, keys, source))
        case Collect():
            unanswered = tuple(typed_items(body.unanswered, MessageId, source))
            return CollectEntry(call, head, _replies(record.cid, body, keys, source), unanswered)
        case Close(outcome=Outcome.STOPPED):  # the app did not end here: the script does
            return QuietEntry(call, head)
        case Close():
            return CloseEntry(call, head, body.outcome is Outcome.RAISED, body.model)
        case _:
            return QuietEntry(call, head)


def hand_over(cid: CID, reply: Reply, keys: RunKeys) -> Handed:
    """A client's reply, in the block ``cid``, as the app sees it.

    Raises:
        UnreadableRecord: if it is encrypted for others.
    """
    private = read_private(reply, ReasonPrivate, keys)
    if private is None:
        raise UnreadableRecord(f"the reply {cid} is encrypted for servers and auditors")
    content_key = keys.reply_content(reply)
    return Handed(reply.message, reply.created, reply.content, reply.code, private.reason, content_key)


def _messages(cid: CID, body: Dispatch, keys: RunKeys, source: BlockSource) -> tuple[Scripted, ...]:
    private = read_private(body, DispatchPrivate, keys)
    if private is None:
        raise UnreadableRecord(f"the dispatch {cid} is encrypted for others")
    return tuple(
        Scripted(id, Outgoing(group.content, *private.kinds[group.kind], group.ttl, node))
        for group in typed_items(body.groups, Group, source)
        for id, node in group.to
    )


def _replies(cid: CID, body: Collect, keys: RunKeys, source: BlockSource) -> tuple[Handed, ...]:
    private = read_private(body, CollectPrivate, keys)
    if private is None:
        raise UnreadableRecord(f"the collect {cid} is encrypted for others")
    return tuple(_handed(answer, private.reasons, keys, source) for answer in answers(body, source))


def _handed(answer: TakenReply | GridError, reasons: tuple[str, ...], keys: RunKeys, source: BlockSource) -> Handed:
    if isinstance(answer, GridError):
        return Handed(answer.message, answer.created, code=answer.code, reason=reasons[answer.why])
    reply = read_record(answer.reply, source).body
    if not isinstance(reply, Reply):
        raise RecordError(f"{answer.reply} is a {reply.TYPE}, not a reply")
    return hand_over(answer.reply, reply, keys)

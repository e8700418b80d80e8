"""The outcome of a run: its chain without times, signatures, and the links that follow from them.

Two runs of one app with one seed have equal outcomes, however often something crashed on the way.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from protocol.blocks.cid import Block, BlockSource
from protocol.blocks.typed import to_plain
from protocol.records.bodies import (
    Chained,
    Close,
    Collect,
    Dispatch,
    GridError,
    Group,
    Index,
    Look,
    Reply,
    Roster,
    Run,
    TakenReply,
    Takeover,
)
from protocol.records.signed_records import Record, answers, parse_record, typed_items

Name = tuple[int, int]
"""A message's node, and how many messages the run sent there before. (Its id depends on the run's time.)"""


def outcome(records: Iterable[Record], source: BlockSource) -> Iterator[Mapping[str, Any]]:
    """The outcome of each record of a verified chain, from the run record on, as plain values to compare.

    An index record is only named, because its links repeat other records.

    Raises:
        protocol.blocks.cid.BlockError: if a block of a record's closure is missing or malformed.
    """
    teller = _Teller(source)
    for record in records:
        if isinstance(record.body, Chained):
            yield teller.tell(record.body)


class _Teller:
    """Names the open messages, and describes records with those names."""

    def __init__(self, source: BlockSource) -> None:
        self._source = source
        self._sent: Counter[int] = Counter()
        self._open: dict[bytes, Name] = {}

    def tell(self, body: Chained) -> dict[str, Any]:
        """What ``body`` says."""
        header = {
            "type": body.TYPE.value,
            "by": body.by,
            "term": body.term,
            "height": body.height,
            "looks": [to_plain(look) for look in typed_items(body.looks, Look, self._source)],
            "empties": body.empties,
            "epoch": body.epoch,
            "private": body.private,
        }
        return header | self._own(body)

    def _own(self, body: Chained) -> dict[str, Any]:
        match body:
            case Run():
                return {"manifest": body.manifest, "bundle": body.bundle, "seed": body.seed}
            case Dispatch():
                groups = typed_items(body.groups, Group, self._source)
                return {"messages": [message for group in groups for message in self._messages(group)]}
            case Collect():
                return self._collect(body)
            case Roster():
                return {"manifest": body.manifest}
            case Index() | Takeover():
                return {}
            case Close():
                return {"outcome": body.outcome.value, "model": body.model}
        raise TypeError(f"no outcome is defined for a {body.TYPE}")

    def _messages(self, group: Group) -> Iterator[dict[str, Any]]:
        for id, node in group.to:
            self._open[id] = (node, self._sent[node])
            self._sent[node] += 1
            yield {"to": self._open[id], "content": group.content, "ttl": group.ttl, "kind": group.kind}

    def _collect(self, body: Collect) -> dict[str, Any]:
        told = [self._answer(answer) for answer in answers(body, self._source)]
        unanswered = [self._open[id] for id in typed_items(body.unanswered, bytes, self._source)]
        return {"answers": told, "unanswered": unanswered}

    def _answer(self, answer: TakenReply | GridError) -> dict[str, Any]:
        if isinstance(answer, GridError):
            refused = answer.refused is not None
            return {"to": self._open.pop(answer.message), "code": answer.code, "why": answer.why, "refused": refused}
        reply = parse_record(Block(answer.reply, self._source.get(answer.reply))).body
        if not isinstance(reply, Reply):
            raise TypeError(f"{answer.reply} is a {reply.TYPE} in a collect of a verified chain")
        return {
            "to": self._open.pop(reply.message),
            "by": reply.by,
            "content": reply.content,
            "code": reply.code,
            "ttl": reply.ttl,
            "epoch": reply.epoch,
            "private": reply.private,
        }

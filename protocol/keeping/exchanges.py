"""Which exchange of a run links which content, read from the records of its chain."""

from __future__ import annotations

from collections.abc import Iterator

from protocol.blocks.cid import CID, BlockSource
from protocol.chain.closure import contents
from protocol.keeping.droppable import ExchangeAt, Kind
from protocol.records.bodies import Collect, Dispatch, Group, Reply, TakenReply
from protocol.records.signed_records import Record, answers, read_record, typed_items

Linked = tuple[CID, Kind | None, int]
"""A content, who said it, and the number of the exchange. None and 0 if it is of the run as a whole: it stays."""


class LinkedExchanges:
    """Takes the records of one chain in order. Its memory grows by a few numbers for each exchange."""

    def __init__(self) -> None:
        self._numbers: dict[CID, int] = {}
        self._last: list[int] = []
        self._waits: list[int] = []
        self._open: dict[bytes, int] = {}

    def __len__(self) -> int:
        return len(self._last)

    def take(self, record: Record, source: BlockSource) -> Iterator[Linked]:
        """What the next record of the chain links.

        Raises:
            protocol.blocks.cid.BlockError: if a block of the record's closure is missing or malformed.
        """
        body = record.body
        match body:
            case Dispatch():
                self._begin(record.cid, body, source)
                number = len(self._last)
                yield from ((content, Kind.MODEL, number) for content in contents(record, source))
            case Collect():
                yield from self._collected(body, source)
            case _:
                yield from ((content, None, 0) for content in contents(record, source))

    def at(self, number: int) -> ExchangeAt:
        """Where the exchange is, from 1."""
        return ExchangeAt(number, self._last[number - 1], not self._waits[number - 1])

    def _begin(self, dispatch: CID, body: Dispatch, source: BlockSource) -> None:
        messages = [id for group in typed_items(body.groups, Group, source) for id, _ in group.to]
        self._last.append(body.height)
        self._waits.append(len(messages))
        self._numbers[dispatch] = number = len(self._last)
        self._open |= dict.fromkeys(messages, number)

    def _collected(self, body: Collect, source: BlockSource) -> Iterator[Linked]:
        for answer in answers(body, source):
            reply = read_record(answer.reply, source).body if isinstance(answer, TakenReply) else None
            message = answer.message if not isinstance(answer, TakenReply) else _message_of(reply)
            number = self._open.pop(message, 0)
            if number:
                self._last[number - 1] = body.height
                self._waits[number - 1] -= 1
            if number and isinstance(reply, Reply) and reply.content is not None:
                yield reply.content, Kind.UPDATE, number


def _message_of(reply: object) -> bytes:
    return reply.message if isinstance(reply, Reply) else b""

"""Follows the run's chain as it grows, verifies each record, and reads the exchanges."""

from __future__ import annotations

from collections.abc import Iterator

from peer.engine.interface import Engine
from peer.history.rounds import Exchange, Rounds
from peer.history.run_sources import EngineSource
from protocol.blocks.cid import CID, Block
from protocol.chain.chain import Chain
from protocol.federation.readers import Reader
from protocol.records.bodies import Chained
from protocol.records.signed_records import parse_record

FETCH_SECONDS = 30.0
"""Seconds for one block. All are in the server's own engine."""


class ChainFollower:
    """Reads a run of ``federation`` from the server's engine."""

    def __init__(self, federation: CID, engine: Engine, max_content_bytes: int, reader: Reader) -> None:
        self._source = EngineSource(engine, FETCH_SECONDS)
        self._chain = Chain(federation, reader)
        self._limit = max_content_bytes
        self._sizes: dict[CID, int] = {}
        self._rounds = Rounds(self._source, self._size)

    def follow(self, head: CID) -> Iterator[Exchange]:
        """The exchanges since the last call, up to the record ``head``.

        Raises:
            BlockError: if a record breaks a rule.
        """
        for block in reversed(list(self._newer(head))):
            step = self._chain.append_block(block, self._source)
            yield from self._rounds.take(step, self._chain.in_force)

    def _newer(self, head: CID) -> Iterator[Block]:
        """The records not read yet, newest first."""
        link: CID | None = head
        while link is not None and link != self._chain.head:
            block = Block(link, self._source.get(link))
            yield block
            body = parse_record(block).body
            link = body.prev if isinstance(body, Chained) else None

    def _size(self, content: CID) -> int:
        if content not in self._sizes:
            self._sizes[content] = sum(len(block.data) for block in self._source.content(content, self._limit))
        return self._sizes[content]

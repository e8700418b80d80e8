"""Follows a run's chain as it grows: verifies each new record, and reads the exchanges."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from peer.history.rounds import Exchange, Rounds
from peer.history.run_sources import RunSource
from protocol.blocks.cid import CID, Block
from protocol.chain.chain import Chain, Step
from protocol.federation.readers import Reader
from protocol.records.bodies import Chained
from protocol.records.signed_records import WellSigned, parse_record

FETCH_SECONDS: Final = 30.0
"""Seconds for one block of a run that is here."""


class ChainFollower:
    """Reads a run of ``federation``."""

    def __init__(
        self,
        federation: CID,
        source: RunSource,
        reader: Reader,
        *,
        size_of: Callable[[CID], int | None] = lambda _: None,
        well_signed: WellSigned = frozenset(),
        on_step: Callable[[Step], None] = lambda _: None,
    ) -> None:
        """``size_of`` tells the bytes of a content. Signatures of ``well_signed`` records are not verified again.
        ``on_step`` is called after each record that keeps every rule."""
        self.source = source
        self.chain = Chain(federation, reader, well_signed)
        """What is verified so far."""
        self._rounds = Rounds(source, size_of)
        self._on_step = on_step

    def follow(self, head: CID) -> Iterator[Exchange]:
        """The exchanges that are complete since the last call, up to the record ``head``.

        Raises:
            BlockError: if a record breaks a rule, or is not here.
        """
        yield from self.verify(list(self.newer(head)))

    def newer(self, head: CID) -> Iterator[Block]:
        """The records not verified yet, from ``head`` back: the newest first.

        Raises:
            BlockError: if one is not here, or no record.
        """
        link: CID | None = head
        while link is not None and link != self.chain.head:
            block = Block(link, self.source.get(link))
            body = parse_record(block).body
            yield block
            link = body.prev if isinstance(body, Chained) else None

    def verify(self, newer: list[Block]) -> Iterator[Exchange]:
        """The exchanges that records complete. ``newer`` are all that `newer` gave, and is empty afterwards.

        Raises:
            BlockError: if one breaks a rule, or what it links is not here.
        """
        while newer:
            step = self.chain.append_block(newer.pop(), self.source)
            self._on_step(step)
            yield from self._rounds.take(step, self.chain.in_force)

    def open(self) -> Iterator[Exchange]:
        """The exchanges that wait for an answer, once no more of the chain comes."""
        return self._rounds.finish()


def content_sizes(source: RunSource, limit: int) -> Callable[[CID], int]:
    """What tells the bytes of a content by reading all of it, once."""
    sizes: dict[CID, int] = {}

    def size_of(content: CID) -> int:
        if content not in sizes:
            sizes[content] = sum(len(block.data) for block in source.content(content, limit))
        return sizes[content]

    return size_of

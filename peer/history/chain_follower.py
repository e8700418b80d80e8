"""Follows a run's chain as it grows: verifies each new record, and reads the exchanges."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Final

from peer.history.rounds import Exchange, Rounds
from peer.history.run_sources import RunSource
from protocol.blocks.cid import CID, Block
from protocol.chain.chain import Chain, Step
from protocol.federation.readers import Reader
from protocol.records.bodies import Chained
from protocol.records.signed_records import WellSigned, parse_record, read_chained

FETCH_SECONDS: Final = 30.0
"""Seconds for one block of a run that is here."""


class LeftBehind(Exception):
    """The run goes on from before the newest record that was read: a takeover has left out a tail."""


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
        on_step: Callable[[Step, Chain], None] = lambda *_: None,
    ) -> None:
        """``size_of`` tells the bytes of a content. Signatures of ``well_signed`` records are not verified again.
        ``on_step`` is called after each record that keeps every rule, with the chain that has it."""
        self.source = source
        self._begin = partial(Chain, federation, reader, well_signed)
        self.chain = self._begin()
        """What is verified so far."""
        self._size_of = size_of
        self._rounds = Rounds(source, size_of)
        self._on_step = on_step

    def follow(self, head: CID) -> Iterator[Exchange]:
        """The exchanges that are complete since the last call, up to the record ``head``.

        Raises:
            LeftBehind: if ``head`` does not follow from what was read.
            BlockError: if a record breaks a rule, or is not here.
        """
        yield from self.verify(list(self.newer(head)))

    def follow_over_forks(self, head: CID) -> Iterator[Exchange]:
        """As `follow`, also if a takeover has left out a tail that was read: then the exchanges that are not what they
        were come again, with the same numbers.

        Raises:
            BlockError: if a record breaks a rule, or is not here.
        """
        try:
            yield from self.follow(head)
        except LeftBehind:
            common = self._common(head)
            self.chain, self._rounds = self._begin(), Rounds(self.source, self._size_of)
            yield from (exchange for exchange in self.follow(head) if exchange.last_height > common)

    def _common(self, head: CID) -> int:
        """The height of the newest record that was read and that ``head`` follows from."""
        ours, theirs = self._at(self.chain.head), self._at(head)
        while ours[0] != theirs[0] and min(ours[1].height, theirs[1].height) > 0:
            if ours[1].height >= theirs[1].height:
                ours = self._at(ours[1].prev)
            else:
                theirs = self._at(theirs[1].prev)
        return ours[1].height

    def _at(self, link: CID | None) -> tuple[CID, Chained]:
        assert link is not None  # both chains have one run record
        return link, read_chained(link, self.source)

    def newer(self, head: CID) -> Iterator[Block]:
        """The records not verified yet, from ``head`` back: the newest first.

        Raises:
            LeftBehind: if they do not follow from what is verified.
            BlockError: if one is not here, or no record.
        """
        link: CID | None = head
        while link is not None and link != self.chain.head:
            block = Block(link, self.source.get(link))
            body = parse_record(block).body
            if isinstance(body, Chained) and body.height <= self.chain.height:
                raise LeftBehind(f"the run goes on from before height {self.chain.height}")
            yield block
            link = body.prev if isinstance(body, Chained) else None

    def verify(self, newer: list[Block]) -> Iterator[Exchange]:
        """The exchanges that records complete. ``newer`` are all that `newer` gave, and is empty afterwards.

        Raises:
            BlockError: if one breaks a rule, or what it links is not here.
        """
        while newer:
            step = self.chain.append_block(newer.pop(), self.source)
            self._on_step(step, self.chain)
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

"""The blocks that are here: nothing is looked for elsewhere, because a page must not wait."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress

from peer.engine.interface import Engine
from peer.engine.linked_blocks import walk
from peer.home.journal import Journal
from protocol.blocks.cid import CID, Block, MissingBlock, checked_block


class BlocksHere:
    """The blocks of a journal and of some engines, as a `peer.history.run_sources.RunSource`."""

    def __init__(self, engines: Sequence[Engine], journal: Journal | None) -> None:
        """``journal`` has the records that the home's member signed: it is asked first, as each question to a node is a
        call of its own."""
        self._engines = engines
        self._journal = journal

    def get(self, cid: CID) -> bytes:
        """As `RunSource`."""
        own = None if self._journal is None or cid.is_raw else self._journal.own(cid)
        if own is not None:
            return checked_block(cid, own).data
        for engine in self._engines:
            with suppress(MissingBlock):
                return engine.get_here(cid)
        raise MissingBlock(cid)

    def content(self, root: CID, limit: int) -> Iterator[Block]:
        """As `RunSource`."""
        return walk(root, lambda cid: Block(cid, self.get(cid)))

    def content_size(self, root: CID, limit: int) -> int:
        """As `RunSource`."""
        return sum(len(block.data) for block in self.content(root, limit))

    def prefetch(self, cids: Sequence[CID]) -> None:
        """As `RunSource`: nothing to do."""

    def hurry(self) -> None:
        """As `RunSource`: nothing to do."""

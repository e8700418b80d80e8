"""The blocks that are here: nothing is looked for elsewhere, because a page must not wait."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from peer.engine.interface import Engine
from peer.engine.linked_blocks import walk
from protocol.blocks.cid import CID, Block, MissingBlock

SECONDS: Final = 5.0
"""For a block that the engine says it has."""


class BlocksHere:
    """The blocks of some engines, as a `peer.history.run_sources.RunSource`."""

    def __init__(self, engines: Sequence[Engine]) -> None:
        self._engines = engines

    def get(self, cid: CID) -> bytes:
        """As `RunSource`."""
        engine = next((each for each in self._engines if each.has(cid)), None)
        if engine is None:
            raise MissingBlock(cid)
        return engine.get(cid, timeout=SECONDS)

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

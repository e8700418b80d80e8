"""How much is written to a file of blocks."""

from __future__ import annotations

from collections.abc import Iterator

from protocol.blocks.cid import Block


class CountedBlocks:
    """Counts blocks and their bytes as they pass."""

    def __init__(self) -> None:
        self.blocks = 0
        self.bytes = 0

    def count(self, blocks: Iterator[Block]) -> Iterator[Block]:
        """The same blocks, counted."""
        for block in blocks:
            self.blocks += 1
            self.bytes += len(block.data)
            yield block

"""Which blocks belong to a record: those that verifying it needs, and the contents it names."""

from __future__ import annotations

from collections.abc import Iterator

from protocol.blocks import CID, Block, BlockSource
from protocol.records import Record


def missing(block: Block | CID, source: BlockSource, trusted: CID | None = None) -> list[CID]:
    """The blocks that ``source`` lacks and that are known to be needed to verify the record in ``block``.

    Fetch them and ask again until there are none. ``trusted`` is a manifest already checked: the walk back to version 1
    stops there. Contents, the app and the seed are not needed to verify: see `contents`.

    Raises:
        protocol.blocks.BlockError: where a block is malformed, or the record needs more than `MAX_BLOCKS`.
    """
    raise NotImplementedError


def contents(record: Record, source: BlockSource) -> Iterator[CID]:
    """The roots of the contents that ``record`` links, in order: a run's app and seed, a dispatch's contents, those of a
    collect's replies, a close's model.

    Raises:
        protocol.blocks.BlockError: where a block of the record's closure is missing or malformed.
    """
    raise NotImplementedError

"""What an audit holds at once does not grow with the length of the chain."""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import Iterator

from inspected_runs import WrittenRun

from peer.audit.audit import Audit
from peer.engine.linked_blocks import walk
from peer.history.scratch import Scratch
from peer.history.verdict import Verdict
from protocol.blocks.cid import CID, Block


def peak_of_audit(records: int) -> int:
    """The most bytes that an audit of so many records holds at once."""
    long = WrittenRun()
    long.lengthen(records)
    gc.collect()
    tracemalloc.start()
    try:
        with Scratch() as scratch:
            assert Audit(long.head, InMemory(long), scratch).run().verdict is Verdict.VERIFIED
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


class InMemory:
    """A written run as a `RunSource`."""

    def __init__(self, written: WrittenRun) -> None:
        self._blocks = written.scribe.source
        self._reads = 0

    def get(self, cid: CID) -> bytes:
        self._reads += 1
        if self._reads % 200 == 0:
            gc.collect()  # garbage in cycles is none of what is held
        return self._blocks.get(cid)

    def content(self, root: CID, limit: int) -> Iterator[Block]:
        return walk(root, lambda cid: Block(cid, self.get(cid)))

    def hurry(self) -> None:
        pass

    def content_size(self, root: CID, limit: int) -> int:
        return sum(len(block.data) for block in self.content(root, limit))

    def prefetch(self, cids: object) -> None:
        """Nothing to do."""


def test_memory_does_not_grow_with_the_chain() -> None:
    peak_of_audit(100)  # fills what is imported and cached once
    grown = peak_of_audit(700) - peak_of_audit(100)
    assert grown < 600 * 200, "a parsed record takes some 3 kB: they are kept"

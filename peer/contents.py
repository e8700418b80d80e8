"""The contents of an app process: its `strategy.content.ContentStore` over an engine."""

from __future__ import annotations

from collections.abc import Iterable

from peer.engine.interface import Engine
from protocol.blocks import CID, Block, BlockSource


class EngineBlocks:
    """An engine as a `protocol.blocks.BlockSource`: each block is fetched when it is read."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def get(self, cid: CID) -> bytes:
        """One block, checked; `peer.engine.interface.Unreachable` where nobody gives it."""
        return self._engine.get(cid)


class EngineContents:
    """Where an app process reads and writes contents."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._blocks = EngineBlocks(engine)

    def put_content(self, root: CID, blocks: Iterable[Block]) -> None:
        """Store a content durably and pin it."""
        self._engine.put_content(root, blocks)

    def open(self, root: CID) -> BlockSource:
        """The blocks of a content that the peer has made local."""
        return self._blocks

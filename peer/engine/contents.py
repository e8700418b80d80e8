"""The contents of an app process: its `strategy.contents.codec.ContentStore`, over an engine or a recorded run.

`peer.apps.contents_given` says how the peer tells its app process which it has.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Final

from peer.base import logs
from peer.engine.engine_retries import EngineRetries
from peer.engine.interface import Engine, EngineError, Unreachable
from peer.engine.record_fetcher import Blocks
from peer.engine.sound_blocks import SoundBlocks
from protocol.blocks.cid import CID, Block, BlockError, BlockSource, MissingBlock

if TYPE_CHECKING:  # it imports flwr, which is slow
    from strategy.contents.codec import ContentStore

READ_AHEAD: Final = 8 << 20
"""Bytes of a content that are read when it is opened. The rest is read as it is needed."""


class EngineBlocks:
    """An engine as a `protocol.blocks.cid.BlockSource`: each block is fetched when it is read."""

    def __init__(self, blocks: Blocks) -> None:
        """``blocks`` are an `Engine` or its `SoundBlocks`."""
        self._blocks = blocks
        self._retries = EngineRetries()

    def get(self, cid: CID) -> bytes:
        """One block, checked. Raises `peer.engine.interface.Unreachable` if nobody gives it."""
        return self._retries(lambda: self._blocks.get(cid))


class EngineContents:
    """Where an app process reads and writes contents."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._retries = EngineRetries()
        self._sound = SoundBlocks(engine)
        self._blocks = EngineBlocks(self._sound)

    def put_content(self, root: CID, blocks: Iterable[Block]) -> None:
        """Store a content durably and pin it. ``blocks`` are gone through again if the engine was away.

        Raises:
            MissingBlock: if a block that was left out is not here any more.
        """
        if isinstance(blocks, Iterator):
            blocks = list(blocks)  # it could be gone through once
        try:
            self._retries(lambda: self._engine.put_content(root, blocks))
        except Unreachable as error:
            raise MissingBlock(error.cid) from error

    def open(self, root: CID) -> BegunContent:
        """The blocks of a content that the peer has made local."""
        return BegunContent(dict(_beginning(self._engine, root)), self._blocks)

    def fetch(self, root: CID, *, timeout: float, limit: int) -> None:
        """Make a content local, and pin it, as `peer.engine.interface.Engine.fetch` does. Does not wait for an engine
        that is away."""
        self._sound.fetch(root, timeout=timeout, limit=limit)

    def local(self, root: CID) -> BlockSource:
        """The blocks of a content that was fetched. Does not wait for an engine that is away."""
        return BegunContent(dict(_beginning(self._engine, root)), self._sound)


class BegunContent:
    """A content whose first blocks are in memory until they are read. The others are fetched when they are read."""

    def __init__(self, begun: dict[CID, bytes], others: BlockSource) -> None:
        self._begun = begun
        self._others = others

    def get(self, cid: CID) -> bytes:
        """One block, as `EngineBlocks` gives it."""
        data = self.at_hand(cid)
        return self._others.get(cid) if data is None else data

    def at_hand(self, cid: CID) -> bytes | None:
        """A block that is in memory; it is not after that."""
        return self._begun.pop(cid, None)


def _beginning(engine: Engine, root: CID) -> Iterator[tuple[CID, bytes]]:
    """The first blocks of a content, in one call to the engine: a model of many small arrays would take many calls."""
    left = READ_AHEAD
    try:
        for block in engine.read_content(root):
            yield block.cid, block.data
            left -= len(block.data)
            if left <= 0:
                return
    except (EngineError, BlockError) as error:
        # The reader will ask for the missing or damaged block itself; that waits for it, and says why it does not come.
        logs.event("read-ahead-ended", logging.DEBUG, content=str(root), why=str(error))


class RecordedContents:
    """Contents of a recorded run. What an app stores again has the CID that it had, and is kept nowhere."""

    def __init__(self, contents: ContentStore) -> None:
        """``contents`` are read alone."""
        self._contents = contents

    def put_content(self, root: CID, blocks: Iterable[Block]) -> None:
        """Nothing to do: whoever made the content knows its CID."""

    def open(self, root: CID) -> BlockSource:
        """The blocks of a recorded content."""
        return self._contents.open(root)

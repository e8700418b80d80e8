"""The contents of an app process: its `strategy.content.ContentStore` over an engine, or over what is recorded.

Where they are is one word on the app process's command line: an engine's address, ``recorded:`` and that, or ``car:``
and a file. The last two are for a replay, which writes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import tee
from pathlib import Path
from typing import Final

from peer.engine import open_engine
from peer.engine.interface import Engine
from peer.patience import Patience
from protocol.blocks import CID, Block, BlockSource
from strategy.content import ContentStore

_RECORDED: Final = "recorded:"
_CAR: Final = "car:"


def recorded_contents(engine: Engine) -> str:
    """What `open_contents` takes for contents that are read from ``engine`` and written nowhere."""
    return _RECORDED + engine.address


def car_contents(path: Path) -> str:
    """What `open_contents` takes for contents that are read from a CAR file and written nowhere."""
    return f"{_CAR}{path.absolute()}"


def open_contents(where: str) -> ContentStore:
    """The contents at ``where``: an engine's address, or what the two functions above give.

    Raises:
        EngineError: where the engine cannot be used.
        PeerError: where the file cannot be read.
    """
    if where.startswith(_CAR):
        from peer.inspect.sources import CarSource  # which imports this module

        return RecordedContents(CarSource(Path(where.removeprefix(_CAR))))
    if where.startswith(_RECORDED):
        return RecordedContents(EngineBlocks(open_engine(where.removeprefix(_RECORDED))))
    return EngineContents(open_engine(where))


class EngineBlocks:
    """An engine as a `protocol.blocks.BlockSource`: each block is fetched when it is read."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._patience = Patience()

    def get(self, cid: CID) -> bytes:
        """One block, checked; `peer.engine.interface.Unreachable` where nobody gives it."""
        return self._patience(lambda: self._engine.get(cid))


class EngineContents:
    """Where an app process reads and writes contents."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._patience = Patience()
        self._blocks = EngineBlocks(engine)

    def put_content(self, root: CID, blocks: Iterable[Block]) -> None:
        """Store a content durably and pin it."""

        def put() -> None:
            nonlocal blocks
            tried, blocks = tee(blocks)
            self._engine.put_content(root, tried)

        self._patience(put)

    def open(self, root: CID) -> BlockSource:
        """The blocks of a content that the peer has made local."""
        return self._blocks


class RecordedContents:
    """Contents of a run that is over: what an app stores again is named by its CID and kept nowhere."""

    def __init__(self, blocks: BlockSource) -> None:
        self._blocks = blocks

    def put_content(self, root: CID, blocks: Iterable[Block]) -> None:
        """Nothing to do: whoever made the content knows its CID."""

    def open(self, root: CID) -> BlockSource:
        """The blocks of a recorded content."""
        return self._blocks

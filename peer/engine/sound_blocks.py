"""An engine's blocks and contents, with damaged copies replaced by another engine's."""

from __future__ import annotations

import time
from dataclasses import dataclass

from peer.engine.interface import Engine, Unreachable
from protocol.blocks.cid import CID, BlockError, BlockMismatch


@dataclass(frozen=True, slots=True)
class SoundBlocks:
    """For a peer that goes on with a run. An auditor reads the engine directly, so that it finds the damage."""

    engine: Engine

    def get(self, cid: CID, *, timeout: float = 30.0) -> bytes:
        """One block, checked.

        Raises:
            EngineError: if nobody gives it within ``timeout`` seconds.
            protocol.blocks.cid.BlockError: if the engine's copy is damaged, and nobody has another.
        """
        until = time.monotonic() + timeout
        try:
            return self.engine.get(cid, timeout=timeout)
        except BlockError as error:
            damaged = error
        self.engine.drop_damaged(cid)
        try:
            return self.engine.get(cid, timeout=max(0.0, until - time.monotonic()))
        except Unreachable:
            raise damaged from None

    def fetch(self, root: CID, *, timeout: float, limit: int) -> None:
        """Make a content local, and pin it. A damaged copy of what links to others says nothing of what it lacks.

        Raises:
            EngineError: as `Engine.fetch`.
            protocol.blocks.cid.BlockError: as that, if nobody has another copy.
        """
        until = time.monotonic() + timeout
        dropped: set[CID] = set()
        while True:
            try:
                return self.engine.fetch(root, timeout=max(0.0, until - time.monotonic()), limit=limit)
            except BlockMismatch as error:
                if error.cid in dropped:
                    raise
                damaged = error.cid
            dropped.add(damaged)
            self.engine.drop_damaged(damaged)

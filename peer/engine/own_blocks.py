"""The blocks of a run in which this peer took part, even if the engine lost or damaged them.

What a peer signed is in its journal too, with what belongs to it. A block that the engine lost, or holds damaged, is
put back from the journal. If the journal does not have it either, the other members are asked.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from typing import Final

from peer.base import logs
from peer.engine.interface import Engine, Unreachable
from peer.engine.sound_blocks import SoundBlocks
from peer.home.journal import Journal
from protocol.blocks.cid import CID, BlockError, checked_block

FIRST_LOOK: Final = 0.5
"""Seconds that the engine has to find a block before we look into the journal. It has most of them at once."""


@dataclass(frozen=True, slots=True)
class OwnBlocks:
    """An engine, with the journal behind it."""

    engine: Engine
    journal: Journal

    def get(self, cid: CID, *, timeout: float = 30.0) -> bytes:
        """One block, checked.

        Raises:
            EngineError: if neither has it, nor any member within ``timeout`` seconds.
            protocol.blocks.cid.BlockError: if the engine's copy is damaged, and nobody has another.
        """
        until = time.monotonic() + timeout
        try:
            return self.engine.get(cid, timeout=min(FIRST_LOOK, timeout))
        except (Unreachable, BlockError) as error:
            why = error
        own = self.journal.own(cid)
        if own is None:
            return SoundBlocks(self.engine).get(cid, timeout=max(0.0, until - time.monotonic()))
        block = checked_block(cid, own)
        logs.event("block-repaired", logging.WARNING, cid=str(cid), why=str(why))
        self.engine.drop_damaged(cid)
        self.engine.put([block], pin=[cid])
        return block.data

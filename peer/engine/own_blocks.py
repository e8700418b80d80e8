"""The blocks of a run that this peer had a part in, whatever became of the engine's copies.

What a peer signed, and what belongs to it, is in its journal too. A block that the engine lost, or whose copy there is
damaged, is taken from the journal and put into the engine again; one that the journal does not have is asked for among
the members.
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
"""Seconds that the engine has to find a block before the journal is looked into: it has most of them at once."""


@dataclass(frozen=True, slots=True)
class OwnBlocks:
    """An engine with the journal behind it."""

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

"""Fetching a record with all that is needed to verify it, many blocks side by side."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Final

from peer.engine.interface import Engine, EngineError
from protocol.blocks import CID, MemoryBlocks
from protocol.closure import missing

MAX_RECORD_BYTES: Final = 256 << 20
"""A record with its listings, replies and manifests; 65,536 replies take some 40 MB."""


class RecordFetcher:
    """Fetches records from an engine. Safe to use from several threads."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._pool = ThreadPoolExecutor(8, "fetch-block")

    def fetch(self, cid: CID) -> dict[CID, bytes]:
        """The record's block and every block that verifying it needs.

        Raises:
            EngineError: where one cannot be had, or they are larger than any record may be.
            protocol.blocks.BlockError: where one is malformed.
        """
        blocks = {cid: self._engine.get(cid)}
        while lacking := missing(cid, MemoryBlocks(blocks)):
            blocks.update(zip(lacking, self._pool.map(self._engine.get, lacking), strict=True))
            if sum(map(len, blocks.values())) > MAX_RECORD_BYTES:
                raise EngineError(f"the record {cid} needs more than {MAX_RECORD_BYTES >> 20} MiB to be verified")
        return blocks

    def close(self) -> None:
        """Stop; fetches under way fail or end by themselves."""
        self._pool.shutdown(wait=False, cancel_futures=True)

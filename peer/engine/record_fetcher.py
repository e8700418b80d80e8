"""Fetching a record with all that is needed to verify it, many blocks side by side."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import Final, Protocol

from peer.engine.interface import EngineError
from protocol.blocks.cid import CID, MemoryBlocks
from protocol.chain.closure import missing
from protocol.records.bodies import Body

MAX_RECORD_BYTES: Final = 256 << 20
"""A record with its listings, replies and manifests; 65,536 replies take some 40 MB."""

BLOCK_TIMEOUT: Final = 30.0
"""Seconds until a block that does not come is given up."""

RECORD_TIMEOUT: Final = 300.0
"""Seconds until a record is given up whose blocks come, but not all: there may always be one more."""


class Blocks(Protocol):
    """Where blocks are: an engine, or more than that."""

    def get(self, cid: CID, *, timeout: float = 30.0) -> bytes:
        """As `peer.engine.interface.Engine` has it."""


class RecordFetcher:
    """Fetches records. Safe to use from several threads.

    One that lacks blocks keeps others waiting, since it asks for several at once: what may be somebody's invention has
    a fetcher of its own.
    """

    def __init__(self, blocks: Blocks) -> None:
        self._blocks = blocks
        self._pool = ThreadPoolExecutor(8, "fetch-block")

    def fetch(self, cid: CID, kind: type[Body] | None, trusted: CID | None = None) -> dict[CID, bytes]:
        """The block of a record, which is of that kind, and every block that verifying it needs. If no kind is named,
        its own block alone.

        ``trusted`` is a manifest that is known; what that follows from is not fetched.

        Raises:
            EngineError: if one cannot be had, or they are larger than any record may be.
            protocol.blocks.cid.BlockError: if one is malformed, or it is another kind of record.
        """
        until = time.monotonic() + RECORD_TIMEOUT

        def get(cid: CID) -> bytes:
            return self._blocks.get(cid, timeout=max(0.0, min(BLOCK_TIMEOUT, until - time.monotonic())))

        blocks = {cid: get(cid)}
        size, passed = 0, dict[CID, CID | None]()
        while kind is not None and (lacking := missing(cid, MemoryBlocks(blocks), trusted, kind, passed)):
            several = self._pool.map if len(lacking) > 1 else map  # handing one over costs more than reading it
            for needed, data in zip(lacking, several(get, lacking), strict=True):
                blocks[needed] = data
                size += len(data)
                if size > MAX_RECORD_BYTES:
                    raise EngineError(f"the record {cid} needs more than {MAX_RECORD_BYTES >> 20} MiB to be verified")
        return blocks

    def close(self) -> None:
        """Stop; fetches under way fail or end by themselves."""
        self._pool.shutdown(wait=False, cancel_futures=True)

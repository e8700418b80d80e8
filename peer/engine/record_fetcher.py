"""Fetching a record with all blocks that it takes to verify it, several side by side."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import Final, Protocol

from peer.engine.interface import EngineError
from protocol.blocks.cid import CID, MemoryBlocks
from protocol.chain.closure import missing
from protocol.records.bodies import Body

MAX_RECORD_BYTES: Final = 256 << 20
"""Bytes of a record with its listings, replies and manifests at most. 65,536 replies take some 40 MB."""

BLOCK_TIMEOUT: Final = 30.0
"""Seconds to wait for one block."""

RECORD_TIMEOUT: Final = 300.0
"""Seconds to wait for all blocks of a record: a hostile one may always need one more."""


class Blocks(Protocol):
    """Where blocks are: an engine, or an engine with more behind it."""

    def get(self, cid: CID, *, timeout: float = 30.0) -> bytes:
        """As `peer.engine.interface.Engine.get`."""


class RecordFetcher:
    """Fetches records. Safe from several threads.

    A record whose blocks do not come keeps others waiting, because it asks for several at once. So what may be made up
    has a fetcher of its own.
    """

    def __init__(self, blocks: Blocks) -> None:
        self._blocks = blocks
        self._pool = ThreadPoolExecutor(8, "fetch-block")

    def fetch(self, cid: CID, kind: type[Body] | None, trusted: CID | None = None) -> dict[CID, bytes]:
        """The block of a record of that kind, and every block that it takes to verify it. Only its own block if no
        kind is named.

        ``trusted`` is a known manifest; the versions before it are not fetched.

        Raises:
            EngineError: if a block does not come, or they are too large together.
            protocol.blocks.cid.BlockError: if a block is malformed, or the record is of another kind.
        """
        until = time.monotonic() + RECORD_TIMEOUT

        def get(cid: CID) -> bytes:
            return self._blocks.get(cid, timeout=max(0.0, min(BLOCK_TIMEOUT, until - time.monotonic())))

        blocks = {cid: get(cid)}
        size, passed = 0, dict[CID, CID | None]()
        while kind is not None and (lacking := missing(cid, MemoryBlocks(blocks), trusted, kind, passed)):
            several = self._pool.map if len(lacking) > 1 else map  # a thread costs more than reading one block
            for needed, data in zip(lacking, several(get, lacking), strict=True):
                blocks[needed] = data
                size += len(data)
                if size > MAX_RECORD_BYTES:
                    raise EngineError(f"the record {cid} needs more than {MAX_RECORD_BYTES >> 20} MiB to be verified")
        return blocks

    def close(self) -> None:
        """Stop. Fetches under way fail, or end by themselves."""
        self._pool.shutdown(wait=False, cancel_futures=True)

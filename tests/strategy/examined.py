"""Contents in memory, to be examined."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from flwr.app import Array, ArrayRecord, RecordDict

from protocol.blocks.cid import CID, MissingBlock
from strategy.contents.codec import encode


class Blocks(dict[CID, bytes]):
    """A block source in memory."""

    def get(self, cid: CID) -> bytes:  # type: ignore[override]
        if cid not in self:
            raise MissingBlock(cid)
        return self[cid]

    def put(self, records: RecordDict) -> CID:
        encoded = encode(records, None)
        self.update((block.cid, block.data) for block in encoded.blocks())
        return encoded.root


def arrays(tensors: Mapping[str, np.ndarray], **more: Array) -> ArrayRecord:
    """A record of these arrays, and of ``more`` arrays that are not numpy's."""
    return ArrayRecord({**{key: Array(each) for key, each in tensors.items()}, **more})

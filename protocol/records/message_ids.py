"""Message ids: the same message has the same id after a resume or a takeover."""

from __future__ import annotations

import hashlib
from typing import Final

from protocol.blocks.cid import CID, encode_cbor

LABEL: Final = "pollen message id 1"
"""Sets these hashes apart from all others; the number changes when the list below does."""


def message_id(run: CID, node: int, ordinal: int, content: CID, type: str) -> bytes:
    """The id of the ``ordinal``-th message (from 0) that ``run`` sends to ``node``, 32 bytes.

    SHA-256 over the dag-cbor list ``[LABEL, run, node, ordinal, content, type]``. A node's messages are counted
    in chain order (`protocol.chain.chain.Chain.ordinal`), so that two equal messages to one node have two ids.
    """
    return hashlib.sha256(encode_cbor([LABEL, run, node, ordinal, content, type])).digest()

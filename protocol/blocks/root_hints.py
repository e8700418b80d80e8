"""The root block of a small content, sent along with what names the content, so that whoever hears of it need not fetch
it. It is a hint: nobody counts on it, and it is what it says it is only if it hashes to the content's CID."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from protocol.blocks.cid import CID, Block, cbor_data_block

MAX_ROOTS: Final = 16 << 10
"""Bytes of all roots that are sent along together: everybody gets them, needed or not."""

MAX_REPLY_ROOT: Final = 4 << 10
"""The same for that of a reply: there are as many replies as clients."""


def root_hint(content: CID, data: bytes, limit: int = MAX_ROOTS) -> Block | None:
    """``data`` as the root block of ``content``; None if it is none, or has more than ``limit`` bytes."""
    if not data or len(data) > limit:
        return None
    block = cbor_data_block(data)
    return block if block.cid == content else None


def root_among(content: CID, blocks: Iterable[Block]) -> Block | None:
    """The root block of ``content``, if it is one of ``blocks`` and small."""
    return next((block for block in blocks if block.cid == content and len(block.data) <= MAX_ROOTS), None)

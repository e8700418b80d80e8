"""Which blocks an app process has sent, so that it can be told whether a content of its own is whole."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from typing import Final

from peer.engine.linked_blocks import links_of, reached
from protocol.blocks.cid import CID, Block, MissingBlock

MAX_REMEMBERED: Final = 1 << 20
"""Blocks, and links in blocks of contents that are not whole, that are remembered of one app process. An app that sends
more without naming a block again has that one forgotten: a content that links to it then lacks it."""


class StoredBlocks:
    """The blocks that one app process sent, the newest of them. Safe to use from several threads."""

    def __init__(self, most: int = MAX_REMEMBERED) -> None:
        self._most = most
        self._links: dict[CID, tuple[CID, ...]] = {}
        """Of each block, the last used last; none once all that it links to has come."""
        self._size = 0
        self._using = threading.Lock()

    def add(self, blocks: Iterable[Block]) -> None:
        """These have come."""
        for block in blocks:
            links = tuple(links_of(block))
            with self._using:
                self._keep(block.cid, links)

    def complete(self, root: CID) -> None:
        """All of the content ``root`` has come.

        Raises:
            MissingBlock: if one has not, or is forgotten.
        """

        def links(cid: CID) -> Iterable[CID]:
            if cid not in self._links:
                raise MissingBlock(cid)
            return self._links[cid]

        with self._using:
            for cid in reached(root, links):
                self._keep(cid, ())

    def _keep(self, cid: CID, links: tuple[CID, ...]) -> None:
        before = self._links.pop(cid, None)
        self._size += 1 + len(links) - (0 if before is None else 1 + len(before))
        self._links[cid] = links
        while self._size > self._most:
            oldest = next(iter(self._links))
            self._size -= 1 + len(self._links.pop(oldest))

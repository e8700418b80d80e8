"""The blocks of a Kubo node, one by one. They are read from the node's own files, where we may."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Sequence
from typing import Final

from peer.engine.kubo.api import KuboApi, KuboRefused
from peer.engine.kubo.contents.node_files import NodeFiles
from peer.engine.linked_blocks import links_of
from protocol.blocks.cid import CID, Block, BlockError, MissingBlock, checked_block

_log = logging.getLogger(__name__)

_VERIFY_SECONDS: Final = 600.0
"""Seconds that a node has to check its whole repository."""

_REMOVE_SECONDS: Final = 600.0
"""Seconds that a node has to look whether a pin leads to some blocks: it follows each of its pins."""

_REMOVED_AT_ONCE: Final = 1000
_ASKED_AT_ONCE: Final = 200


class NodeBlocks:
    """What one node has of blocks. Nothing here asks the network. ``files`` are the node's own, if we know them."""

    def __init__(self, api: KuboApi, files: NodeFiles | None) -> None:
        self._api = api
        self._files = files

    def has(self, cid: CID) -> bool:
        if self.in_a_file(cid):
            return True
        try:
            self._api.call("block/stat", str(cid), offline=True)
        except KuboRefused as error:
            if error.is_not_found:
                return False
            raise
        return True

    def get_here(self, cid: CID) -> bytes:
        if (data := self.in_files(cid)) is not None:
            return data
        try:
            return checked_block(cid, self._api.call("block/get", str(cid), offline=True)).data
        except KuboRefused as error:
            if error.is_not_found:
                raise MissingBlock(cid) from error
            raise

    def in_files(self, cid: CID) -> bytes | None:
        """A block, checked, from the node's own files; None if the node has to be asked."""
        if self._files is None or (data := self._files.read(cid)) is None:
            return None
        return checked_block(cid, data).data

    def in_a_file(self, cid: CID) -> bool:
        """Whether a block is in the node's own files; False if the node has to be asked."""
        return self._files is not None and self._files.has(cid)

    def links(self, cid: CID) -> Sequence[CID]:
        """What a block links to; nothing if it is not here."""
        if cid.is_raw:
            return ()
        try:
            return links_of(Block(cid, self.get_here(cid)))
        except MissingBlock:
            return ()

    def sound_links(self, cid: CID) -> Sequence[CID]:
        """As `links`, and nothing if it is damaged or malformed."""
        try:
            return self.links(cid)
        except BlockError:
            return ()

    def missing(self, cids: Sequence[CID]) -> list[CID]:
        """Those of ``cids`` that are not here. The node is asked for what is not in its files."""
        unseen = [cid for cid in cids if not self.in_a_file(cid)]
        found = self.sizes(unseen)
        return [cid for cid in unseen if cid not in found]

    def whole_size(self, root: CID) -> int | None:
        """The bytes of a content, each block once, if its own block and all that this links to are in files, and link
        nothing else; None if that is not so, or only the node can tell."""
        if self._files is None or (size := self._files.size(root)) is None:
            return None
        try:
            links = self.links(root)
        except BlockError:  # it is damaged, or none of ours
            return None
        for link in set(links):
            if not link.is_raw or (more := self._files.size(link)) is None:
                return None
            size += more
        return size

    def sizes(self, cids: Sequence[CID]) -> dict[CID, int]:
        """As `peer.engine.interface.Engine` says. What links nothing is asked for many at a time."""
        raw = [cid for cid in cids if cid.is_raw]
        alone = [cid for cid in cids if not cid.is_raw]
        found: dict[CID, int] = {}
        for start in range(0, len(raw), _ASKED_AT_ONCE):
            some = raw[start : start + _ASKED_AT_ONCE]
            try:
                answer = self._api.call("dag/stat", *map(str, some), progress=False, offline=True)
                told = self._api.said(answer)["DagStats"]
                found |= {CID.parse(each["Cid"]): int(each["Size"]) for each in told}
            except KuboRefused as error:
                if not error.is_not_found:
                    raise
                alone += some
            except (KeyError, TypeError, ValueError) as error:
                raise self._api.no_kubo() from error
        for cid in alone:
            with contextlib.suppress(KuboRefused):
                found[cid] = int(self._api.said(self._api.call("block/stat", str(cid), offline=True))["Size"])
        return found

    def remove(self, cids: Sequence[CID]) -> None:
        """Delete blocks for good, in this order. Kubo's ``block/rm`` leaves what a pin leads to, whoever set it."""
        for start in range(0, len(cids), _REMOVED_AT_ONCE):
            some = map(str, cids[start : start + _REMOVED_AT_ONCE])
            answer = self._api.call("block/rm", *some, force=True, within=_REMOVE_SECONDS)
            for said in map(self._api.said, answer.splitlines()):
                if (why := said.get("Error")) and "pinned" not in str(why):
                    raise self._api.meaning(str(why))

    def drop_damaged(self, cid: CID) -> None:
        """As `peer.engine.interface.Engine` says. A node removes a damaged block that is pinned only by checking its
        whole repository. After that, a node that remembers which blocks it has still believes that it has this
        one, and stores no copy that it is given (boxo/blockstore/twoqueue_cache.go), until it has failed to read it."""
        if not self._has_damaged(cid):
            return
        _log.warning("the Kubo node at %s has a damaged copy of %s: it is removed", self._api.address, cid)
        try:
            self._api.call("block/rm", str(cid), force=True)
            if not self.has(cid):
                return
        except KuboRefused as error:
            _log.debug("%s is not removed by itself: %s", cid, error)
        with contextlib.suppress(KuboRefused):  # its answer if it found damage
            self._api.call("repo/verify", drop=True, within=_VERIFY_SECONDS)
        self._has_damaged(cid)  # reads it, for the reason above

    def _has_damaged(self, cid: CID) -> bool:
        try:
            self.get_here(cid)
        except MissingBlock:
            return False
        except BlockError:
            return True
        return False

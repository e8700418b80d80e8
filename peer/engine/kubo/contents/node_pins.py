"""The pins of a Kubo node: what keeps blocks from being deleted."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

from peer.engine.kubo.api import KuboApi, KuboRefused
from protocol.blocks.cid import CID


class NodePins:
    """The pins of one node, which has one for a block, whoever asked for it."""

    def __init__(self, api: KuboApi) -> None:
        self._api = api

    def add(self, cids: Sequence[CID]) -> None:
        """Pin blocks that are here, without what they link to."""
        try:
            self._api.call("pin/add", *map(str, cids), recursive=False)
        except KuboRefused as error:
            if "already pinned recursively" not in str(error):
                raise
            if len(cids) > 1:  # Kubo stopped at the first such block, so the others are not pinned yet
                for cid in cids:
                    self.add([cid])

    def remove(self, cid: CID) -> None:
        """Undo a pin. Harmless if there is none."""
        try:
            self._api.call("pin/rm", str(cid))
        except KuboRefused as error:
            if "not pinned" not in str(error):
                raise

    def keeps(self, root: CID) -> bool:
        """Whether ``root`` is pinned recursively."""
        try:
            self._api.call("pin/ls", str(root), type="recursive")
        except KuboRefused as error:
            if "not pinned" not in str(error):
                raise
            return False
        return True

    def check_going(self, cid: CID) -> None:
        """Check that a pin did not fail because the node is stopping. An answer that is cut short says why only in a
        trailer, which httpx does not read. Another call tells.

        Raises:
            EngineUnavailable: if the node is stopping.
        """
        with contextlib.suppress(KuboRefused):  # we know that it is not pinned
            self._api.call("pin/ls", str(cid))

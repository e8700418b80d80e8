"""Which homes use a node that is its owner's own.

A node keeps one pin for a block, whoever asked for it. So a home must not undo what another one needs too. Each home
leaves a mark at a node that it uses: a tiny block of its own, pinned under a name.
"""

from __future__ import annotations

from typing import Final

from peer.engine.interface import SharedEngine
from peer.engine.kubo.api import KuboApi, KuboRefused
from protocol.blocks.car import write_car
from protocol.blocks.cid import raw_block

NAME: Final = "pollen-home"
"""The name of the pins."""


class HomesOfNode:
    """The marks at one node, and the mark of the home ``owner``."""

    def __init__(self, api: KuboApi, owner: str) -> None:
        self._api = api
        self._mark = raw_block(f"the Pollen home {owner} uses this node".encode())

    def enter(self) -> None:
        """Leave our mark, if it is not there."""
        cid = self._mark.cid
        if not self._is_pinned(str(cid)):
            upload = write_car([], [self._mark])
            self._api.call("dag/import", upload=upload, pin_roots=False, fast_provide_root=False)
            self._api.call("pin/add", str(cid), recursive=False, name=NAME)

    def _is_pinned(self, cid: str) -> bool:
        try:
            self._api.call("pin/ls", cid, type="direct")
        except KuboRefused as error:
            if "not pinned" not in str(error):
                raise
            return False
        return True

    def refuse_if_shared(self) -> None:
        """Raises:
        SharedEngine: if another home has left its mark too.
        """
        if others := self._marks() - {str(self._mark.cid)}:
            many = "another home uses" if len(others) == 1 else f"{len(others)} other homes use"
            raise SharedEngine(
                f"{many} the Kubo node at {self._api.shown}, and it does not tell whose block is whose",
                "give each home a node of its own (--ipfs kubo). If the others are gone, remove their marks: "
                f"ipfs pin ls --type=direct --name={NAME} --names, then ipfs pin rm CID of each but {self._mark.cid}",
            )

    def _marks(self) -> set[str]:
        answer = self._api.call("pin/ls", type="direct", name=NAME, names=True)
        try:
            found = self._api.said(answer).get("Keys") or {}
            return {str(cid) for cid, pin in found.items() if pin["Name"] == NAME}
        except (AttributeError, KeyError, TypeError) as error:
            raise self._api.no_kubo() from error

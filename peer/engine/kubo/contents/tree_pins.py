"""Pinning a block and all that it links to, which has a Kubo node fetch what is not here."""

from __future__ import annotations

import contextlib
import math
import time
from typing import Final

from peer.engine.interface import TooLarge
from peer.engine.kubo.api import KuboApi, KuboTimeout
from peer.engine.kubo.contents.coming_contents import SEND_SECONDS, Coming, ComingContents
from peer.engine.kubo.contents.node_pins import NodePins
from peer.engine.kubo.contents.unfinished_contents import UnfinishedContents
from protocol.blocks.cid import CID

STALL_SECONDS: Final = 30.0
"""Seconds without a new block, or bytes of one, after which a recursive pin is given up."""

FRAME_SECONDS: Final = 10.0
"""Seconds that a node waits for the next bytes of a content whose first block is here, before it asks again. To ask
again has the others send again what is on its way. Bytes come in frames of 64 KiB at most, and whoever sends ends a
connection over which one takes longer than this (go-yamux, ``ConnectionWriteTimeout``)."""


class TreePins:
    """Recursive pins of one node, watched as they get on."""

    def __init__(
        self, api: KuboApi, pins: NodePins, coming: ComingContents, unfinished: UnfinishedContents | None
    ) -> None:
        self._api = api
        self._pins = pins
        self._coming = coming
        self._unfinished = unfinished

    def pin(self, root: CID, limit: float, *, deadline: float, stall: float, coming: Coming) -> None:
        """Pin ``root`` recursively and watch the progress, which Kubo reports twice a second (with bytes since 0.40).
        It is noted in ``coming``. Over a slow line many blocks come side by side, and none is whole for long: so it
        goes on as long as bytes come, and a block of them can.

        Raises:
            KuboTimeout: if no block came for ``stall`` seconds, or the deadline is over and it may not last.
            EngineUnavailable: if the node stops meanwhile.
            TooLarge: if it has more than ``limit`` bytes.
        """
        pauses = None if deadline == math.inf else STALL_SECONDS  # it says twice a second how far it is
        response = self._api.open("pin/add", str(root), recursive=True, progress=True, within=math.inf, pauses=pauses)
        tried, is_too_large = _Try(root, stall, deadline), False
        with contextlib.closing(response), self._api.translated():
            for line in response.iter_lines():
                news = self._api.said(line)
                if news.get("Pins"):
                    return
                if news.get("Bytes", 0) > limit:
                    is_too_large = True
                    break
                if not self._waits_on(tried, coming, news.get("Progress", 0), news.get("Bytes", 0)):
                    break
        if is_too_large:
            self._pins.remove(root)  # Kubo may have pinned it before it said how large it is
            raise too_large(root, limit)
        self._pins.check_going(root)
        raise KuboTimeout(f"the Kubo node at {self._api.shown} did not get all of it: {tried.blocks} blocks came")

    def _waits_on(self, tried: _Try, coming: Coming, blocks: int, size: int) -> bool:
        """Whether to wait for more, if so many blocks are here by now, with ``size`` bytes."""
        now = time.monotonic()
        if blocks > tried.blocks:
            if not tried.blocks and tried.deadline < math.inf and self._unfinished is not None:
                self._unfinished.begin(tried.root)
            tried.blocks, tried.since = blocks, now
            coming.note(blocks, size, now)
        elif not coming.knows_received:
            coming.note_received(self._api.bitswap_received())
        elif now - tried.since > (max(tried.stall, FRAME_SECONDS) if blocks else tried.stall):
            if not coming.moves(self._api.bitswap_received(), now - (coming.waits_since or now)):
                return False
            tried.since = now
        is_coming = coming.waits_since is not None and now - coming.waits_since < SEND_SECONDS
        return now < tried.deadline or (is_coming and self._coming.may_last(coming, now))


class _Try:
    """How far one pin is."""

    def __init__(self, root: CID, stall: float, deadline: float) -> None:
        self.root, self.deadline = root, deadline
        self.stall = stall
        """Seconds without a block, or bytes, after which it is given up."""
        self.blocks = 0
        self.since = time.monotonic()
        """When bytes moved last."""


def too_large(root: CID, limit: float) -> TooLarge:
    """The error for a content with more bytes than ``limit``."""
    return TooLarge(f"{root} is larger than the {limit} bytes allowed")

"""Having a Kubo node fetch blocks and whole contents from other nodes."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Sequence
from typing import Final, TypeVar

from peer.engine.interface import StillComing, TooLarge, Unreachable
from peer.engine.kubo.api import KuboApi, KuboRefused, KuboSilent, KuboTimeout
from peer.engine.kubo.contents.coming_contents import SEND_SECONDS, Coming, ComingContents
from peer.engine.kubo.contents.node_blocks import NodeBlocks
from peer.engine.kubo.contents.node_pins import NodePins
from peer.engine.kubo.contents.tree_pins import STALL_SECONDS, TreePins, too_large
from peer.engine.kubo.contents.unfinished_contents import UnfinishedContents
from peer.engine.linked_blocks import links_of, reached
from protocol.blocks.cid import CID, Block, BlockError, checked_block

_T = TypeVar("_T")

_SLOW_TRIES: Final = 3
"""How often a block is asked for that others have to themselves. A node may have 4 MiB in its queue (64 frames in each
connection), for which a line that carries a block in time takes five minutes."""

_FEW_LINKS: Final = 3
"""How many blocks of a content are fetched one after the other: more come sooner side by side."""

_FIRST_TRY: Final = 0.5
"""Seconds after which a node is asked again for what has not come. Each later try has twice as many."""


class ContentFetcher:
    """Fetches to one node. ``unfinished`` is where it marks which contents are on their way, if it may."""

    def __init__(self, api: KuboApi, blocks: NodeBlocks, pins: NodePins, unfinished: UnfinishedContents | None) -> None:
        self._api = api
        self._blocks = blocks
        self._pins = pins
        self._unfinished = unfinished
        self._coming = ComingContents()
        self._tree_pins = TreePins(api, pins, self._coming, unfinished)

    def get(self, cid: CID, *, timeout: float) -> bytes:
        """As `peer.engine.interface.Engine` says."""
        if (data := self._blocks.in_files(cid)) is not None:
            return data

        def ask(patience: float) -> bytes:
            return self._api.call("block/get", str(cid), within=patience)

        return checked_block(cid, _ask_until(cid, time.monotonic() + timeout, ask)).data

    def fetch(self, root: CID, *, timeout: float, limit: int) -> None:
        """As `peer.engine.interface.Engine` says."""
        coming, is_whole = self._coming.take(root), False
        try:
            if coming.is_slow:
                self._fetch_singly(root, limit, time.monotonic() + timeout, coming)
            deadline = time.monotonic() + timeout

            def pin(patience: float) -> None:
                self._fetch_few(root, patience, deadline)
                self._tree_pins.pin(root, limit, deadline=deadline, stall=patience, coming=coming)

            _ask_until(root, deadline, pin)
            is_whole = True
            self._finished(root)
        except TooLarge:
            self._finished(root)
            raise
        except Unreachable as error:
            if not coming.goes_on():
                raise
            raise StillComing(root, f"{root} is not here yet, {coming.blocks} blocks are: {error}") from error
        finally:
            self._coming.end(root, coming, is_whole=is_whole)

    def pin(self, cid: CID) -> None:
        """Pin ``cid`` and all that it links to, however long that takes."""
        coming = Coming()

        def pin() -> None:
            # no time-out: a long run takes long to walk
            self._tree_pins.pin(cid, math.inf, deadline=math.inf, stall=STALL_SECONDS, coming=coming)

        try:
            try:
                pin()
            except KuboTimeout:
                if not coming.is_slow:
                    raise
                self._fetch_singly(cid, math.inf, math.inf, coming)
                pin()
        except KuboTimeout as error:
            self._pins.check_going(cid)
            raise Unreachable(cid, f"{cid} is not whole, so it is not pinned: {error}") from error

    def _fetch_few(self, root: CID, patience: float, deadline: float) -> None:
        """Have the node fetch a content of few blocks in one session of bitswap, if none of it is here. It is pinned
        after that: what did not come here comes then.

        Whoever has the first block of a session is asked for the next ones themselves. ``pin/add`` has one session for
        the root, and another for the rest, which asks everybody anew whether they have it, and only then for it. And a
        node sends no two messages to another within 20 ms (boxo, ``minSendMessageDelay``): so it takes 40 ms more.
        """
        if root.is_raw or self._blocks.in_files(root) is not None:
            return
        within = max(min(deadline - time.monotonic(), STALL_SECONDS), 0.0)
        with contextlib.suppress(KuboRefused, KuboTimeout, KuboSilent, BlockError):
            response = self._api.open("dag/stat", str(root), progress=True, within=within, begins=patience)
            with contextlib.closing(response), self._api.translated():
                lines = response.iter_lines()  # one for each block that came
                next(lines, None)
                links = self._blocks.links(root)
                if len(links) <= _FEW_LINKS and all(link.is_raw for link in links):
                    for _ in lines:
                        pass

    def _fetch_singly(self, root: CID, limit: float, deadline: float, coming: Coming) -> None:
        """Fetch what is not here of ``root``, one block after the other, so that each has the line to itself. Whoever
        sends gives up a block that takes too long. Of several side by side, each takes as long as all of them.

        Raises:
            Unreachable: if a block does not come, or the time is up and it may not last.
            TooLarge: if what came, over all tries, has more than ``limit`` bytes.
        """

        def links(cid: CID) -> Sequence[CID]:
            if self._blocks.has(cid):
                return self._blocks.links(cid)
            is_over = time.monotonic() >= deadline
            if is_over and not self._coming.may_last(coming):
                raise Unreachable(cid, f"{cid} was not asked for before the time was up")
            data = self._get_slowly(cid, coming)
            coming.note_one(len(data))
            if coming.size > limit:
                raise too_large(root, limit)
            return links_of(Block(cid, data))

        reached(root, links)

    def _get_slowly(self, cid: CID, coming: Coming) -> bytes:
        """One block that others have to themselves. It is not asked for again before they have sent it or given it up,
        and then only if bytes came meanwhile: what they had in their queues goes first.

        Raises:
            Unreachable: if it does not come.
        """
        tries = 0
        while True:
            tries += 1
            coming.note_received(self._api.bitswap_received())
            try:
                return checked_block(cid, self._api.call("block/get", str(cid), within=SEND_SECONDS)).data
            except (KuboRefused, KuboTimeout, KuboSilent) as error:
                if isinstance(error, KuboRefused) and not error.is_not_found:
                    raise
                if tries == _SLOW_TRIES or not coming.moves(self._api.bitswap_received(), 0.0):
                    raise Unreachable(cid, f"nobody within reach has {cid}: {error}") from error

    def _finished(self, root: CID) -> None:
        if self._unfinished is not None:
            self._unfinished.end(root)


def _ask_until(cid: CID, deadline: float, ask: Callable[[float], _T]) -> _T:
    """What ``ask`` returns. It is asked again and again, each time with a longer time-out.

    Bitswap asks its peers once. A peer that imports the block as a CAR later does not tell those that asked.

    Raises:
        Unreachable: if ``cid`` did not come before the deadline.
        KuboSilent: if the node did not even say so.
    """
    patience = _FIRST_TRY
    while True:
        left = deadline - time.monotonic()
        try:
            return ask(max(min(patience, left), 0.0))
        except (KuboRefused, KuboTimeout, KuboSilent) as error:
            if isinstance(error, KuboRefused) and not error.is_not_found:
                raise
            if left <= patience:
                if isinstance(error, KuboSilent):
                    raise
                raise Unreachable(cid, f"nobody within reach has {cid}: {error}") from error
        patience *= 2

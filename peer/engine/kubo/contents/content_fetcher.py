"""Having a Kubo node fetch blocks and whole contents from other nodes."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Final, TypeVar

from peer.engine.interface import StillComing, TooLarge, Unreachable
from peer.engine.kubo.api import KuboApi, KuboRefused, KuboSilent, KuboTimeout
from peer.engine.kubo.contents.blocks_in_turn import BlocksInTurn
from peer.engine.kubo.contents.coming_contents import SEND_SECONDS, Coming, ComingContents
from peer.engine.kubo.contents.node_blocks import NodeBlocks
from peer.engine.kubo.contents.node_pins import NodePins
from peer.engine.kubo.contents.tree_pins import FRAME_SECONDS, STALL_SECONDS, TreePins, too_large
from peer.engine.kubo.contents.unfinished_contents import UnfinishedContents
from peer.engine.kubo.contents.waiting_pins import WaitingPins
from protocol.blocks.cid import CID, checked_block

_T = TypeVar("_T")

_FIRST_TRY: Final = 0.5
"""Seconds after which a node is asked again for what has not come. Each later try has twice as many."""

_FIRST_OF_CHUNK: Final = 2.0
"""The same for a chunk. Whoever has it most probably had it before, and to ask again has it sent once more."""

_SLOW_TRIES: Final = 2
"""How often a block is asked for that may be on its way for longer than it was given."""


class _Moves(Exception):
    """A block did not come in time, but may be on its way."""


class ContentFetcher:
    """Fetches to one node. ``unfinished`` is where it marks which contents are on their way, if it may, and ``waiting``
    where it notes pins that are set later."""

    def __init__(
        self,
        api: KuboApi,
        blocks: NodeBlocks,
        pins: NodePins,
        unfinished: UnfinishedContents | None,
        waiting: WaitingPins | None,
    ) -> None:
        self._api = api
        self._blocks = blocks
        self._pins = pins
        self._unfinished = unfinished
        self._waiting = waiting
        self._coming = ComingContents()
        self._in_turn = BlocksInTurn(api, blocks, self._coming)
        self._tree_pins = TreePins(api, pins, self._coming, unfinished)

    def get(self, cid: CID, *, timeout: float) -> bytes:
        """As `peer.engine.interface.Engine` says."""
        if (data := self._blocks.in_files(cid)) is not None:
            return data

        deadline = time.monotonic() + timeout
        if timeout < FRAME_SECONDS:
            data = _ask_until(cid, deadline, lambda patience: self._ask(cid, patience))
        else:
            data = self._get_while_it_moves(cid, deadline)
        return checked_block(cid, data).data

    def _ask(self, cid: CID, patience: float) -> bytes:
        return self._api.call("block/get", str(cid), within=patience)

    def _get_while_it_moves(self, cid: CID, deadline: float) -> bytes:
        """One block, after the deadline too if bytes come, which may be its own. A chunk is not asked for again then
        even before: that has others send it once more. A record may be nowhere yet, and is."""
        coming = Coming()

        def watched(patience: float) -> bytes:
            if patience > _FIRST_TRY:
                coming.note_received(self._api.bitswap_received())
            try:
                return self._ask(cid, patience)
            except (KuboTimeout, KuboSilent, KuboRefused) as error:
                if cid.is_raw and coming.has_received(self._api.bitswap_received()):
                    raise _Moves from error
                raise

        try:
            return _ask_until(cid, deadline, watched, _FIRST_OF_CHUNK if cid.is_raw else _FIRST_TRY)
        except (_Moves, Unreachable) as error:
            with self._coming.one_lasts() as may_last:
                moves = isinstance(error, _Moves) or coming.has_received(self._api.bitswap_received())
                if moves and may_last:
                    return self._get_slowly(cid, coming)
            if isinstance(error, Unreachable):
                raise
        return _ask_until(cid, deadline, lambda patience: self._ask(cid, patience))

    def _get_slowly(self, cid: CID, coming: Coming) -> bytes:
        """One block that comes, or others do. It is not asked for again before they have sent it or given it up, and
        then only if bytes came meanwhile: what they had in their queues goes first.

        Raises:
            Unreachable: if it does not come.
        """
        tries = 0
        while True:
            tries += 1
            coming.note_received(self._api.bitswap_received())
            try:
                return self._ask(cid, SEND_SECONDS)
            except (KuboRefused, KuboTimeout, KuboSilent) as error:
                if isinstance(error, KuboRefused) and not error.is_not_found:
                    raise
                if tries == _SLOW_TRIES or not coming.has_received(self._api.bitswap_received()):
                    raise Unreachable(cid, f"nobody within reach has {cid}: {error}") from error

    def fetch(self, root: CID, *, timeout: float, limit: int) -> None:
        """As `peer.engine.interface.Engine` says."""
        coming, is_whole = self._coming.take(root), False
        try:
            deadline = time.monotonic() + timeout

            def pin(patience: float) -> None:
                is_here = self._in_turn.fetch(
                    root, limit, deadline=deadline, patience=patience, coming=coming, begun=lambda: self._begun(root)
                )
                if self._noted(root, limit):
                    return
                until = time.monotonic() + STALL_SECONDS if is_here else deadline
                self._tree_pins.pin(root, limit, deadline=until, stall=patience, coming=coming)

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

    def _noted(self, root: CID, limit: int) -> bool:
        """Whether all of a content is here, and its pin is noted, to be set later.

        Raises:
            TooLarge: if it has more than ``limit`` bytes. It is not pinned then.
        """
        if self._waiting is None:
            return False
        with self._waiting.beside_others():
            size = self._blocks.whole_size(root)
            if size is None:
                return False
            if size > limit:
                raise too_large(root, limit)
            self._waiting.note([root], recursive=True)
        return True

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
                self._in_turn.fetch(
                    cid, math.inf, deadline=math.inf, patience=STALL_SECONDS, coming=coming, begun=lambda: None
                )
                pin()
        except KuboTimeout as error:
            self._pins.check_going(cid)
            raise Unreachable(cid, f"{cid} is not whole, so it is not pinned: {error}") from error

    def _begun(self, root: CID) -> None:
        if self._unfinished is not None:
            self._unfinished.begin(root)

    def _finished(self, root: CID) -> None:
        if self._unfinished is not None:
            self._unfinished.end(root)


def _ask_until(cid: CID, deadline: float, ask: Callable[[float], _T], first: float = _FIRST_TRY) -> _T:
    """What ``ask`` returns. It is asked again and again, the ``first`` time for so many seconds, and then for longer.

    Bitswap asks its peers once. A peer that imports the block as a CAR later does not tell those that asked.

    Raises:
        Unreachable: if ``cid`` did not come before the deadline.
        KuboSilent: if the node did not even say so.
    """
    patience = first
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

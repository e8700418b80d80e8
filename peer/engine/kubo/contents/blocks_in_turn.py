"""Having a Kubo node fetch the blocks of a content in turn, each after the one before.

A content of few blocks comes so as a whole: ``pin/add`` has one session of bitswap for the root, and another for the
rest, which asks everybody anew whether they have it, and only then for it. Whoever has the first block of a session is
asked for the next ones themselves. And a node sends no two messages to another within 20 ms (boxo,
``minSendMessageDelay``). So one session for all is 40 ms quicker.

Of a large content, the first blocks come so. More come sooner side by side, unless the line is slow: whoever sends
gives up a block that takes too long, and each of several takes as long as all of them. So the time of the first block
tells whether others come side by side, too, before any is lost.
"""

from __future__ import annotations

import math
import queue
import threading
import time
from collections.abc import Callable
from typing import Final, Self

import httpx

from peer.base.sockets import shut_down
from peer.engine.interface import EngineError
from peer.engine.kubo.api import KuboApi, KuboRefused, KuboSilent, KuboTimeout
from peer.engine.kubo.contents.coming_contents import Coming, ComingContents
from peer.engine.kubo.contents.node_blocks import NodeBlocks
from peer.engine.kubo.contents.tree_pins import FRAME_SECONDS, too_large
from peer.engine.linked_blocks import reached, visited
from protocol.blocks.cid import CID, BlockError

_FEW_LINKS: Final = 3
"""How many blocks of a content are fetched in turn, however quick the line."""

_FIRST_LOOK: Final = 1.0
"""Seconds without a block after which its bytes are first looked for."""


class BlocksInTurn:
    """Fetches to one node. ``contents`` says how long that may last."""

    def __init__(self, api: KuboApi, blocks: NodeBlocks, contents: ComingContents) -> None:
        self._api = api
        self._blocks = blocks
        self._contents = contents

    def fetch(
        self, root: CID, limit: float, *, deadline: float, patience: float, coming: Coming, begun: Callable[[], None]
    ) -> bool:
        """Fetch blocks of ``root`` until all are here, or the line turns out to be quick. ``begun`` is called as soon
        as the root is here, for which the node has ``patience`` seconds. ``coming`` notes how far it gets. Returns
        whether it is whole; if not, to pin it fetches the rest, or tells why it does not come.

        Raises:
            KuboTimeout: if the line is slow, and no bytes come, or no block, or the time is up and it may not last.
            EngineUnavailable: if the node stops meanwhile.
            TooLarge: if it has more than ``limit`` bytes.
        """
        if root.is_raw or (self._blocks.in_a_file(root) and not self._lacks_some(root)):
            return False
        try:
            response = self._api.open("dag/stat", str(root), progress=True, within=math.inf, begins=patience)
        except (KuboRefused, KuboTimeout, KuboSilent):
            return False
        with _Counts(self._api, response) as counts:
            try:
                begun()
                return self._follow(root, counts, limit, deadline, coming)
            except (BlockError, KuboRefused):
                return False
            except KuboTimeout:
                if coming.is_slow or time.monotonic() >= deadline:
                    raise
                return False

    def _lacks_some(self, root: CID) -> bool:
        return not all(map(self._blocks.in_a_file, reached(root, self._blocks.links)))

    def _follow(self, root: CID, counts: _Counts, limit: float, deadline: float, coming: Coming) -> bool:
        is_few, before = False, 0
        for number, cid in enumerate(visited(root, self._blocks.links)):
            was_here = number > 0 and not is_few and self._is_here(cid, coming)
            since = time.monotonic()
            counted = self._awaited(counts, deadline, coming)
            if counted is None:
                return False  # the node gave up
            blocks, size = counted
            now = time.monotonic()
            if not was_here:
                coming.note(blocks, size, now)
            if size > limit:
                raise too_large(root, limit)
            if number == 0:
                links = self._blocks.links(root)
                is_few = len(links) <= _FEW_LINKS and all(link.is_raw for link in links)
            elif not is_few and not was_here:
                coming.note_alone(size - before, now - since)
                if not coming.is_slow:
                    return False
            before = size
        counts.end()
        return True

    def _is_here(self, cid: CID, coming: Coming) -> bool:
        """Whether a block is here before it is waited for. Only if the line is slow, a node is asked that does not let
        us see its files."""
        return self._blocks.in_a_file(cid) or (coming.is_slow and self._blocks.has(cid))

    def _awaited(self, counts: _Counts, deadline: float, coming: Coming) -> tuple[int, int] | None:
        """How many blocks are here once one more is, and their bytes; None if no more come.

        Raises:
            KuboTimeout: as `fetch`, whether the line is slow or not.
        """
        wait = _FIRST_LOOK
        while True:
            now = time.monotonic()
            if now >= deadline and not self._contents.may_last(coming, now):
                raise KuboTimeout(f"the Kubo node at {self._api.shown} got {coming.blocks} blocks before time was up")
            try:
                return counts.next(wait)
            except queue.Empty:
                received = self._api.bitswap_received()
            now = time.monotonic()
            waited = now - (coming.waits_since or now)
            if wait == _FIRST_LOOK:
                coming.note_received(received)
            elif not coming.moves(received, waited):
                raise KuboTimeout(f"the Kubo node at {self._api.shown} got no more after {coming.blocks} blocks")
            wait = FRAME_SECONDS


class _Counts:
    """What a node says as blocks come, read in a thread: whoever waits for it may look elsewhere meanwhile."""

    def __init__(self, api: KuboApi, response: httpx.Response) -> None:
        self._api = api
        self._response = response
        self._told: queue.SimpleQueue[tuple[int, int] | EngineError | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._read, name="blocks-in-turn", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        if not self._response.is_closed:  # else its connection may be another call's already
            shut_down(self._response.extensions["network_stream"].get_extra_info("socket"))
        self._thread.join()
        self._response.close()

    def next(self, seconds: float) -> tuple[int, int] | None:
        """The blocks so far, and their bytes; None at the end.

        Raises:
            queue.Empty: if it says nothing for so many seconds.
            EngineError: if the answer breaks off.
        """
        told = self._told.get(timeout=seconds)
        if isinstance(told, EngineError):
            raise told
        return told

    def end(self) -> None:
        """Read what the node says at the end, so that its connection can be used again."""
        self._thread.join(_FIRST_LOOK)

    def _read(self) -> None:
        try:
            with self._api.translated():
                for line in self._response.iter_lines():
                    (counted,) = self._api.said(line)["DagStats"]
                    self._told.put((int(counted["NumBlocks"]), int(counted["Size"])))
            self._told.put(None)
        except EngineError as error:
            self._told.put(error)
        except (KeyError, TypeError, ValueError):
            self._told.put(self._api.no_kubo())

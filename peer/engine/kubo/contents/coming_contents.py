"""How much of a content has come to a Kubo node, over all tries: those of one fetch, and fetches that go on where one
ended."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from protocol.blocks.cid import CID

SEND_SECONDS: Final = 120.0
"""Seconds after which every node has given up sending a block that does not get through. It has 2 s, and 80 s for each
MB, and never more than this (boxo v0.42, ``bitswap/network/bsnet/ipfs_impl.go``, ``sendTimeout``)."""

_LEAST_SECONDS: Final = 10.0
_LATENCY: Final = 2.0
_LEAST_RATE: Final = 12_500
"""Bytes a second (boxo, ``minSendTimeout``, ``sendLatency`` and ``minSendRate`` there)."""

_SIDE_BY_SIDE: Final = 12
"""How many times faster than its sender would give it up a block has to come alone, if others are to come beside it.
A node sends eight side by side (boxo, ``BitswapEngineTaskWorkerCount``), and no line is always as quick."""

_QUICK_AGAIN: Final = 2
"""How many blocks have to come quickly over a line that was slow. One may have been on its way before."""

_MOVES: Final = 1 << 12
"""Bytes by which one can tell that blocks are on their way, and not only questions for them."""

_REMEMBERED: Final = 64
"""How many contents are remembered that were not whole when a fetch ended."""

LASTING: Final = 4
"""How many fetches last longer than they were given, as long as blocks come. Each keeps a thread of whoever asked, and
whoever sends it may send a block now and then for ever."""

_SMALL_BLOCKS: Final = 8
"""How many blocks of a content may be small."""
_MEAN_SIZE: Final = 2 << 10
"""Bytes that the others have in the mean, at least: they are chunks of arrays, and one of more than 4 KiB is followed
by at most one smaller one (`strategy.contents.codec`)."""


def seconds_to_send(size: int) -> float:
    """Seconds after which a node gives up sending a block of so many bytes."""
    return max(_LEAST_SECONDS, min(SEND_SECONDS, _LATENCY + size / _LEAST_RATE))


class Coming:
    """How much of one content has come. A node does not say whose the bytes are that it gets before a block of them is
    whole. So others' bytes count too, but not for longer than it takes to send one block of this content."""

    def __init__(self) -> None:
        self.blocks = 0
        """With those that were here before."""
        self.size = 0
        """Their bytes."""
        self.is_slow = False
        """Whether its blocks come so slowly that they are to be asked for one at a time."""
        self.waits_since: float | None = None
        """When a block came last, or this fetch began to wait for one, by the clock of whoever fetches."""
        self._is_more = self._has_moved = self._began_slow = False
        self._received: int | None = None
        self._quick = 0
        """How many blocks came quickly, one after the other."""

    def begin(self) -> None:
        """A fetch begins."""
        self._is_more, self._has_moved, self._began_slow = False, False, self.is_slow
        self._received = self.waits_since = None

    def note(self, blocks: int, size: int, now: float) -> None:
        """A try has found so many blocks, of ``size`` bytes. Each begins with those that are here."""
        if blocks > self.blocks or self.waits_since is None:
            self.waits_since = now
        self._is_more |= 0 < self.blocks < blocks
        self.blocks, self.size = max(self.blocks, blocks), max(self.size, size)

    def note_alone(self, size: int, seconds: float) -> None:
        """A block of so many bytes came in so many seconds, and no other beside it."""
        if seconds * _SIDE_BY_SIDE >= seconds_to_send(size):
            self.is_slow, self._quick = True, 0
            return
        self._quick += 1
        self.is_slow = self.is_slow and self._quick < _QUICK_AGAIN

    @property
    def is_too_small(self) -> bool:
        """Whether its blocks are too small for a content. A chain of small blocks, each of which links the next, would
        never end, and cost its sender next to nothing."""
        return self.size < (self.blocks - _SMALL_BLOCKS) * _MEAN_SIZE

    @property
    def knows_received(self) -> bool:
        """Whether it is known how many bytes the node had from others before."""
        return self._received is not None

    def note_received(self, received: int | None) -> None:
        """The node has so many bytes from others."""
        self._received = received

    def moves(self, received: int | None, without_block: float) -> bool:
        """Whether to wait on, if the node has ``received`` so many bytes from others, and for ``without_block`` seconds
        no block of this content: bytes came since the last call. None counts before there is a first block, which tells
        that somebody has the content."""
        if not self.has_received(received) or not self.blocks:
            return False
        self._has_moved = True
        self.is_slow |= without_block >= SEND_SECONDS
        return without_block < SEND_SECONDS

    def has_received(self, received: int | None) -> bool:
        """Whether bytes came since the last call, if the node has ``received`` so many from others."""
        before, self._received = self._received, received
        return received is not None and before is not None and received - before >= _MOVES

    def goes_on(self) -> bool:
        """Whether the content is still coming, though a fetch has ended without all of it: blocks of it came, or bytes
        did, and then it is slow. If its blocks were asked for one at a time, bytes alone do not count: one block is
        whole, or given up by whoever sends it, within `SEND_SECONDS`."""
        if self.is_too_small:
            return False
        if self._is_more:
            return True
        self.is_slow |= self._has_moved
        return self.is_slow and not self._began_slow


class ComingContents:
    """The contents that were not whole when a fetch ended. Safe from several threads."""

    def __init__(self) -> None:
        self._coming: OrderedDict[CID, Coming] = OrderedDict()
        self._lock = threading.Lock()
        self._lasting: dict[Coming, float] = {}
        """The fetches that last, and since when: the longest first."""
        self._single = threading.BoundedSemaphore(LASTING)

    def take(self, root: CID) -> Coming:
        """What is known of a content that is fetched now. It is forgotten unless it is kept again."""
        with self._lock:
            coming = self._coming.pop(root, None) or Coming()
        coming.begin()
        return coming

    def may_last(self, coming: Coming, now: float) -> bool:
        """Whether a fetch whose time is up may go on. To end it and begin another would have others send again what is
        on its way: a node sends what it is asked for, also if it has just sent it.

        Whoever has lasted for as long as a block may take gives its place to another that needs one. Nobody can tell
        who sends what, so one hostile member could hold all places with what comes now and then for ever.
        """
        if coming.is_too_small:
            return False
        with self._lock:
            if coming in self._lasting:
                return True
            if len(self._lasting) == LASTING:
                longest, since = next(iter(self._lasting.items()))
                if now - since < SEND_SECONDS:
                    return False
                del self._lasting[longest]
            self._lasting[coming] = now
            return True

    @contextmanager
    def one_lasts(self) -> Iterator[bool]:
        """Whether a single block may be waited for longer, inside. No more at once than contents."""
        may = self._single.acquire(blocking=False)
        try:
            yield may
        finally:
            if may:
                self._single.release()

    def end(self, root: CID, coming: Coming, *, is_whole: bool) -> None:
        """A fetch has ended. If without all of it, another goes on from there."""
        with self._lock:
            self._lasting.pop(coming, None)
        if is_whole:
            return
        with self._lock:
            self._coming[root] = coming
            if len(self._coming) > _REMEMBERED:
                self._coming.popitem(last=False)

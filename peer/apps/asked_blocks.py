"""Contents for an app process without an engine: it asks its peer for blocks, over a socket that it inherits."""

from __future__ import annotations

import itertools
import os
import queue
import socket
import threading
from collections.abc import Iterable
from typing import Final, NoReturn

from peer.engine.interface import EngineError, EngineUnavailable, StillComing, TooLarge
from protocol.app.block_calls import (
    BlockAnswer,
    BlockCall,
    BlocksRead,
    CallFailed,
    MakeLocal,
    Obstacle,
    ReadBlock,
    SentBlock,
    StoreBlocks,
)
from protocol.app.pipe import FrameReader, encode
from protocol.blocks.cid import CID, Block, BlockError, BlockSource, MissingBlock

BATCH: Final = 8 << 20
"""The most bytes of a content in one message."""


class AskedBlocks:
    """Our end of the socket. Safe to use from several threads, but not in a process that an app has forked."""

    def __init__(self, ours: socket.socket) -> None:
        self._socket = ours
        self._numbers = itertools.count(1)
        self._sending = threading.Lock()
        self._waiting: dict[int, queue.SimpleQueue[BlockAnswer | None]] = {}
        self._is_over = ""
        """Why no more answers come; empty while they do."""
        threading.Thread(target=self._read, name="blocks", daemon=True).start()
        os.register_at_fork(after_in_child=self._forked)

    def next_number(self) -> int:
        """The number of the next call."""
        return next(self._numbers)

    def ask(self, call: BlockCall) -> BlockAnswer:
        """Ask the peer, and wait for its answer.

        Raises:
            EngineError: if the peer cannot do it, or has gone.
            protocol.blocks.cid.BlockError: if a block is missing or damaged.
        """
        answer: queue.SimpleQueue[BlockAnswer | None] = queue.SimpleQueue()
        self._waiting[call.call] = answer
        try:
            self._send(call)
            found = answer.get()
        finally:
            self._waiting.pop(call.call, None)
        if found is None:
            raise EngineUnavailable(self._is_over)
        if isinstance(found, CallFailed):
            _refuse(found)
        return found

    def _send(self, call: BlockCall) -> None:
        with self._sending:
            if self._is_over:
                raise EngineUnavailable(self._is_over)
            try:
                self._socket.sendall(encode(call))
            except OSError as error:
                raise EngineUnavailable(f"the peer gives no blocks: {error}") from error

    def _read(self) -> None:
        frames = FrameReader()
        try:
            while data := self._socket.recv(1 << 18):
                for value in frames.feed(data):
                    if isinstance(value, BlockAnswer) and (waiting := self._waiting.get(value.call)) is not None:
                        waiting.put(value)
        finally:
            with self._sending:
                self._is_over = "the peer gives no blocks any more"
            for waiting in list(self._waiting.values()):
                waiting.put(None)

    def _forked(self) -> None:
        self._is_over = "only the process that its peer has started reads and writes contents, not one that it forks"
        self._sending = threading.Lock()  # which the parent may have held


def _refuse(answer: CallFailed) -> NoReturn:
    match answer.obstacle:
        case Obstacle.TOO_LARGE:
            raise TooLarge(answer.why, answer.fix)
        case Obstacle.STILL_COMING:
            raise StillComing(CID.parse(answer.why))
        case Obstacle.MISSING:
            raise MissingBlock(CID.parse(answer.why))
        case Obstacle.BLOCK:
            raise BlockError(answer.why)
        case Obstacle.ENGINE | Obstacle.NOT_NAMED:
            raise EngineError(answer.why, answer.fix)


class AskedContent:
    """One content. Its blocks are asked for when they are read, and the next ones come along, which are read soon."""

    def __init__(self, asked: AskedBlocks, root: CID) -> None:
        self._asked = asked
        self._root = root
        self._came: dict[CID, bytes] = {}
        """What came along, until it is read."""

    def get(self, cid: CID) -> bytes:
        """One block. The peer has checked it: all its sources do."""
        data = self._came.pop(cid, None)
        if data is not None:
            return data
        ahead = 0 if self._came else BATCH  # none, if what came along is not what is read
        answer = self._asked.ask(ReadBlock(self._asked.next_number(), self._root, cid, ahead))
        if not isinstance(answer, BlocksRead):
            raise EngineError(f"the peer was asked for a block, and answered with a {type(answer).__name__}")
        self._came.update((each.cid, each.data) for each in answer.ahead)
        return answer.data


class AskedContents:
    """Reads and writes contents for an app process."""

    def __init__(self, asked: AskedBlocks) -> None:
        self._asked = asked

    def put_content(self, root: CID, blocks: Iterable[Block]) -> None:
        """Store a content durably and pin it."""
        batch: list[SentBlock] = []
        size = 0
        for block in blocks:
            if size + len(block.data) > BATCH:
                self._store(root, batch, ends=False)
                batch, size = [], 0
            batch.append(SentBlock(block.cid, bytes(block.data)))
            size += len(block.data)
        self._store(root, batch, ends=True)

    def open(self, root: CID) -> BlockSource:
        """The blocks of a content."""
        return AskedContent(self._asked, root)

    def local(self, root: CID) -> BlockSource:
        """The blocks of a content that was fetched."""
        return self.open(root)

    def fetch(self, root: CID, *, timeout: float, limit: int) -> None:
        """Make a content local, and pin it; raises as `peer.engine.interface.Engine.fetch` does."""
        self._asked.ask(MakeLocal(self._asked.next_number(), root, float(timeout), limit))

    def _store(self, root: CID, batch: list[SentBlock], *, ends: bool) -> None:
        self._asked.ask(StoreBlocks(self._asked.next_number(), root, tuple(batch), ends))

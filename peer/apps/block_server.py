"""Blocks for an app process that is given no engine: the peer's end of the socket that it asks over.

It reads the contents that the peer has named to it (`protocol.app.calls.contents_named`) and those that it has stored,
and nothing else: what else an engine holds is none of its business, and a block that a Kubo node does not have would be
asked of the network by its name, which is a word sent out.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterable, Iterator
from contextlib import suppress
from functools import lru_cache
from typing import Final, Protocol

from peer.apps.contents_given import ASKED, RECORDED
from peer.engine.contents import EngineContents
from peer.engine.engine_retries import EngineRetries
from peer.engine.interface import Engine, EngineError, TooLarge
from peer.engine.linked_blocks import links_of
from protocol.app.calls import (
    BlockAnswer,
    BlockCall,
    BlockRead,
    Done,
    FetchContent,
    NotDone,
    Obstacle,
    ReadBlock,
    StoreBlocks,
)
from protocol.app.pipe import FrameReader, PipeError, encode
from protocol.blocks.cid import CID, Block, BlockError, BlockSource, checked_block

AT_ONCE: Final = 10
"""Calls that are answered side by side: contents that do not come hold up those that do only if there are so many."""

MAX_NAMED: Final = 1 << 17
"""Contents that an app process may read at a time: the newest that were named. It reads what it is handed."""

OPENED: Final = 8
"""Contents whose links, and first blocks, are kept for the next call."""


class _NotNamed(Exception):
    """A block that this app process is not to read."""


class Contents(Protocol):
    """Where the blocks come from."""

    @property
    def given_as(self) -> str:
        """How an app process is told of the socket (`peer.apps.contents_given`)."""

    def open(self, root: CID) -> BlockSource:
        """The blocks of a content."""

    def fetch(self, root: CID, *, timeout: float, limit: int) -> None:
        """As `peer.engine.interface.Engine.fetch`."""

    def store(self, root: CID, blocks: Iterable[Block], *, ends: bool) -> None:
        """Store some blocks of a content, durably; all are there if it ``ends``."""


class ServedEngine:
    """Those of an engine, for the app process of a running peer."""

    given_as = ASKED

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._contents = EngineContents(engine)
        self._retries = EngineRetries()

    def open(self, root: CID) -> BlockSource:
        """As `Contents` says."""
        return self._contents.open(root)

    def fetch(self, root: CID, *, timeout: float, limit: int) -> None:
        """As `Contents` says."""
        self._retries(lambda: self._contents.fetch(root, timeout=timeout, limit=limit))

    def store(self, root: CID, blocks: Iterable[Block], *, ends: bool) -> None:
        """As `Contents` says; blocks that are there already make no difference."""
        some = list(blocks)
        put = (lambda: self._engine.put_content(root, some)) if ends else (lambda: self._engine.put(some))
        self._retries(put)


class ServedRun:
    """Those of a run that is over. A replay stores nothing, so it asks for no such thing."""

    given_as = RECORDED

    def __init__(self, source: BlockSource) -> None:
        self._source = source

    def open(self, root: CID) -> BlockSource:
        """As `Contents` says."""
        return self._source

    def fetch(self, root: CID, *, timeout: float, limit: int) -> None:
        """Nothing to do: the audit has seen that all of it is here."""

    def store(self, root: CID, blocks: Iterable[Block], *, ends: bool) -> None:
        """Nothing to do: whoever made the content knows its CID."""


class BlockServer:
    """Answers one app process, in threads of its own, from `start` until `close`."""

    def __init__(self, contents: Contents) -> None:
        self._contents = contents
        self._ours, self.theirs = socket.socketpair()
        """``theirs`` is for the app process to inherit."""
        self._frames = FrameReader()
        self._calls: list[BlockCall] = []
        self._reading = threading.Lock()
        self._writing = threading.Lock()
        self._naming = threading.Lock()
        self._named: dict[CID, None] = {}
        """In the order in which they were named."""
        self._opened = lru_cache(maxsize=OPENED)(self._open)

    def start(self) -> None:
        """Begin to answer. The app process has its end now, and this one needs it no more."""
        self.theirs.close()
        for _ in range(AT_ONCE):
            threading.Thread(target=self._serve, name="blocks", daemon=True).start()

    def name(self, contents: Iterable[CID]) -> None:
        """Let the app process read these."""
        with self._naming:
            for content in contents:
                self._named.pop(content, None)
                self._named[content] = None
            while len(self._named) > MAX_NAMED:
                del self._named[next(iter(self._named))]

    def close(self) -> None:
        """Answer no more. Calls that an engine is still busy with are answered to nobody."""
        for end in (self._ours, self.theirs):
            _shut(end)

    def _serve(self) -> None:
        try:
            while (call := self._next()) is not None:
                frame = encode(self._answer(call))
                with self._writing:
                    self._ours.sendall(frame)
        except (OSError, PipeError):  # it is gone, or an app writes to descriptors it does not own: it gets no more
            _shut(self._ours)

    def _next(self) -> BlockCall | None:
        """The next call; None at the end. Whoever waits here first takes it."""
        with self._reading:
            while not self._calls:
                data = self._ours.recv(1 << 18)
                if not data:
                    return None
                for value in self._frames.feed(data):
                    if not isinstance(value, BlockCall):
                        raise PipeError(f"a {type(value).__name__} from an app process that asks for blocks")
                    self._calls.append(value)
            return self._calls.pop(0)

    def _answer(self, call: BlockCall) -> BlockAnswer:
        try:
            return self._done(call)
        except _NotNamed as error:
            return NotDone(call.call, Obstacle.NOT_NAMED, str(error), "")
        except TooLarge as error:
            return NotDone(call.call, Obstacle.TOO_LARGE, str(error), error.fix)
        except EngineError as error:
            return NotDone(call.call, Obstacle.ENGINE, str(error), error.fix)
        except BlockError as error:
            return NotDone(call.call, Obstacle.BLOCK, str(error), "")
        except OSError as error:
            return NotDone(call.call, Obstacle.ENGINE, str(error), "")

    def _done(self, call: BlockCall) -> BlockAnswer:
        match call:
            case ReadBlock(root=root, block=block):
                self._check_named(root)
                content, links = self._opened(root)
                if block != root and block not in links:
                    raise _NotNamed(f"{block} is no block of the content {root}")
                return BlockRead(call.call, content.get(block))
            case FetchContent(root=root, timeout=timeout, limit=limit):
                self._check_named(root)
                self._contents.fetch(root, timeout=timeout, limit=limit)
            case StoreBlocks(root=root, blocks=sent, ends=ends):
                self._contents.store(root, [checked_block(each.cid, each.data) for each in sent], ends=ends)
                if ends:
                    self.name([root])
        return Done(call.call)

    def _check_named(self, root: CID) -> None:
        with self._naming:
            if root not in self._named:
                raise _NotNamed(f"{root} is no content that this app was handed")

    def _open(self, root: CID) -> tuple[BlockSource, frozenset[CID]]:
        content = self._contents.open(root)
        return content, frozenset(_linked(root, content))


def _linked(root: CID, content: BlockSource) -> Iterator[CID]:
    """All that a content links, of which no chunk is read."""
    pending = [root]
    while pending:
        cid = pending.pop()
        for link in links_of(Block(cid, content.get(cid))):
            yield link
            if not link.is_raw:
                pending.append(link)


def _shut(end: socket.socket) -> None:
    with suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)
    end.close()

"""Blocks for an app process without an engine: the peer's end of the socket over which it asks.

The app process can read only the contents that the peer has named to it (`protocol.app.calls.contents_named`) and those
that it has stored, every block of them. It must not see what else an engine holds. Nor may it name other blocks, or
link to them: a Kubo node asks the network for blocks that it lacks, so an app could send out data in such names.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterable, Iterator
from contextlib import suppress
from functools import lru_cache
from itertools import islice
from typing import Final, Protocol

from peer.apps.contents_given import ASKED, RECORDED
from peer.apps.stored_blocks import StoredBlocks
from peer.engine.contents import READ_AHEAD, EngineContents
from peer.engine.engine_retries import EngineRetries
from peer.engine.interface import Engine, EngineError, StillComing, TooLarge, Unreachable
from peer.engine.linked_blocks import links_of, reached
from protocol.app.block_calls import (
    BlockAnswer,
    BlockCall,
    BlocksRead,
    CallDone,
    CallFailed,
    MakeLocal,
    Obstacle,
    ReadBlock,
    SentBlock,
    StoreBlocks,
)
from protocol.app.pipe import FrameReader, PipeError, encode
from protocol.blocks.cid import CID, Block, BlockError, BlockSource, MissingBlock, checked_block

AT_ONCE: Final = 10
"""How many calls are answered at once. Fewer contents than that may fail to come without delaying others."""

MAX_NAMED: Final = 1 << 17
"""How many contents an app process may read: the newest that were named."""

MAX_CALL: Final = 16 << 20
"""Bytes of one call: twice what an app process puts into one (`peer.apps.asked_blocks.BATCH`)."""

MAX_AHEAD: Final = READ_AHEAD
"""Bytes of blocks that are sent before they are asked for, whatever the app process says."""

MAX_TIMEOUT: Final = 600.0
"""The most seconds for which a content is waited for, whatever the app process says."""

OPENED: Final = 8
"""How many contents' links and first blocks are kept for the next call."""


class _NotNamed(Exception):
    """The app process may not read this block."""


class OpenContent(BlockSource, Protocol):
    """The blocks of one content."""

    def at_hand(self, cid: CID) -> bytes | None:
        """A block that is here and sound, without waiting for it; otherwise None."""


class Contents(Protocol):
    """The source of the blocks."""

    @property
    def given_as(self) -> str:
        """How an app process learns of the socket (`peer.apps.contents_given`)."""

    def open(self, root: CID) -> OpenContent:
        """The blocks of a content."""

    def fetch(self, root: CID, *, timeout: float, limit: int) -> None:
        """As `peer.engine.interface.Engine.fetch`."""

    def store(self, root: CID, blocks: Iterable[Block], *, ends: bool) -> None:
        """Store blocks of a content durably. If it ``ends``, these are the last."""


class ServedEngine:
    """The contents of an engine, for the app process of a running peer."""

    given_as = ASKED

    def __init__(self, engine: Engine, limit: int) -> None:
        """No content of more than ``limit`` bytes is fetched, whatever an app process says."""
        self._engine = engine
        self._limit = limit
        self._contents = EngineContents(engine)
        self._retries = EngineRetries()

    def open(self, root: CID) -> OpenContent:
        """As `Contents`."""
        return self._contents.open(root)

    def fetch(self, root: CID, *, timeout: float, limit: int) -> None:
        """As `Contents`."""
        self._retries(lambda: self._contents.fetch(root, timeout=timeout, limit=min(limit, self._limit)))

    def store(self, root: CID, blocks: Iterable[Block], *, ends: bool) -> None:
        """As `Contents`. Blocks that are there already do no harm."""
        some = list(blocks)
        put = (lambda: self._engine.put_content(root, some)) if ends else (lambda: self._engine.put(some))
        try:
            self._retries(put)
        except Unreachable as error:  # dropped since the app process stored it
            raise MissingBlock(error.cid) from error


class ServedRun:
    """The contents of a recorded run, for a replay, which stores nothing."""

    given_as = RECORDED

    def __init__(self, source: BlockSource) -> None:
        self._source = source

    def open(self, root: CID) -> OpenContent:
        """As `Contents`."""
        return self

    def get(self, cid: CID) -> bytes:
        """As `OpenContent`."""
        return self._source.get(cid)

    def at_hand(self, cid: CID) -> bytes | None:
        """As `OpenContent`."""
        try:
            return self._source.get(cid)
        except BlockError:  # whoever needs the block will ask for it, and is told why it does not come
            return None

    def fetch(self, root: CID, *, timeout: float, limit: int) -> None:
        """Nothing: the audit has checked that the whole content is here."""

    def store(self, root: CID, blocks: Iterable[Block], *, ends: bool) -> None:
        """Nothing: the app process that made the content knows its CID."""


class BlockServer:
    """Answers one app process, in separate threads, from `start` until `close`."""

    def __init__(self, contents: Contents) -> None:
        self._contents = contents
        self._ours, self.theirs = socket.socketpair()
        """``theirs`` is the end that the app process inherits."""
        self._frames = FrameReader(MAX_CALL)
        self._calls: list[BlockCall] = []
        self._reading = threading.Lock()
        self._writing = threading.Lock()
        self._naming = threading.Lock()
        self._named: dict[CID, None] = {}
        """In the order in which they were named."""
        self._stored = StoredBlocks()
        self._opened = lru_cache(maxsize=OPENED)(self._open)

    def start(self) -> None:
        """Begin to answer. The app process now has its end, so ours is closed."""
        self.theirs.close()
        for _ in range(AT_ONCE):
            threading.Thread(target=self._serve, name="blocks", daemon=True).start()

    def name(self, contents: Iterable[CID]) -> None:
        """Allow the app process to read these contents."""
        with self._naming:
            for content in contents:
                self._named.pop(content, None)
                self._named[content] = None
            while len(self._named) > MAX_NAMED:
                del self._named[next(iter(self._named))]

    def close(self) -> None:
        """Stop answering, also the calls that an engine is still busy with."""
        for end in (self._ours, self.theirs):
            _shut(end)

    def _serve(self) -> None:
        try:
            while (call := self._next()) is not None:
                frame = encode(self._answer(call))
                with self._writing:
                    self._ours.sendall(frame)
        except (OSError, PipeError):  # the process is gone, or the app wrote to a descriptor that it does not own
            _shut(self._ours)

    def _next(self) -> BlockCall | None:
        """The next call; None at the end. The thread that waits first takes it."""
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
            return CallFailed(call.call, Obstacle.NOT_NAMED, str(error), "")
        except TooLarge as error:
            return CallFailed(call.call, Obstacle.TOO_LARGE, str(error), error.fix)
        except StillComing as error:
            return CallFailed(call.call, Obstacle.STILL_COMING, str(error.cid), error.fix)
        except EngineError as error:
            return CallFailed(call.call, Obstacle.ENGINE, str(error), error.fix)
        except MissingBlock as error:
            return CallFailed(call.call, Obstacle.MISSING, str(error.cid), "")
        except BlockError as error:
            return CallFailed(call.call, Obstacle.BLOCK, str(error), "")
        except OSError as error:
            return CallFailed(call.call, Obstacle.ENGINE, str(error), "")

    def _done(self, call: BlockCall) -> BlockAnswer:
        match call:
            case ReadBlock(root=root, block=block, ahead=ahead):
                self._check_named(root)
                content, places = self._opened(root)
                if block not in places:
                    raise _NotNamed(f"{block} is not a block of the content {root}")
                data = content.get(block)
                following = islice(places, places[block] + 1, None)
                return BlocksRead(call.call, data, tuple(_at_hand(content, following, min(ahead, MAX_AHEAD))))
            case MakeLocal(root=root, timeout=timeout, limit=limit):
                self._check_named(root)
                within = timeout if 0 <= timeout <= MAX_TIMEOUT else MAX_TIMEOUT
                self._contents.fetch(root, timeout=within, limit=limit)
            case StoreBlocks(root=root, blocks=sent, ends=ends):
                blocks = [checked_block(each.cid, each.data) for each in sent]
                self._stored.add(blocks)
                if ends:
                    self._stored.complete(root)
                self._contents.store(root, blocks, ends=ends)
                if ends:
                    self.name([root])
        return CallDone(call.call)

    def _check_named(self, root: CID) -> None:
        with self._naming:
            if root not in self._named:
                raise _NotNamed(f"{root} is not a content that this app was given")

    def _open(self, root: CID) -> tuple[OpenContent, dict[CID, int]]:
        """A content, and the place of each of its blocks in it, in order."""
        content = self._contents.open(root)
        # chunks have no links, and are not read for them
        blocks = reached(root, lambda cid: () if cid.is_raw else links_of(Block(cid, content.get(cid))))
        return content, {cid: at for at, cid in enumerate(blocks)}


def _at_hand(content: OpenContent, cids: Iterable[CID], most: int) -> Iterator[SentBlock]:
    """The blocks that come first, as long as they are at hand and have ``most`` bytes together."""
    for cid in cids:
        data = content.at_hand(cid) if most > 0 else None
        if data is None or len(data) > most:
            return
        most -= len(data)
        yield SentBlock(cid, data)


def _shut(end: socket.socket) -> None:
    with suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)
    end.close()

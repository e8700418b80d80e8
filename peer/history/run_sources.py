"""Where the blocks of a run are read from: an engine, or a CAR file."""

from __future__ import annotations

import contextlib
import hashlib
import sqlite3
import threading
from collections import deque
from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Final, Protocol

from crypto.remembered import has_mark, mark
from peer.base.errors import ExitCode, PeerError
from peer.engine.interface import Engine, StillComing, Unreachable
from peer.engine.linked_blocks import links_of, reached, walk
from protocol.blocks.car import CarCutShort, CarError, Section, read_sections
from protocol.blocks.cid import CID, Block, BlockError, BlockMismatch, MalformedCid, MissingBlock, checked_block
from strategy.contents.side_by_side import side_by_side

_PER_SECTION: Final = 1 << 10
"""Bytes of memory that a section takes besides its block: a file may have millions of blocks of no bytes at all."""

HURRIED: Final = 2.0
"""Seconds for a block that was looked for in vain a moment ago, and for each block and content once one of a run that
does not keep everything was."""

_REMEMBERED: Final = 64
"""How many blocks, that were read or looked for in vain, an engine's source remembers."""

BATCH: Final = 1 << 20
"""Bytes of a file's blocks that one thread checks at a time."""

MAX_DAMAGE: Final = 100
"""How many broken sections of a CAR are listed one by one."""


class RunSource(Protocol):
    """A `protocol.blocks.cid.BlockSource` that gives whole contents too.

    `get` and `content` raise `MissingBlock` if a block is not there, and `BlockMismatch` if its bytes are not its own.
    """

    def get(self, cid: CID) -> bytes:
        """One block, checked."""

    def content(self, root: CID, limit: int) -> Iterator[Block]:
        """``root`` and all that it links to, one checked block at a time, of ``limit`` bytes in all at most."""

    def content_size(self, root: CID, limit: int) -> int:
        """The bytes of ``root`` and all that it links to, once each block of that has been checked. Raises as
        `content`."""

    def prefetch(self, cids: Sequence[CID]) -> None:
        """Say which blocks will be asked for soon."""

    def hurry(self) -> None:
        """Look only briefly for what is not here from now on: something that should have come has not."""


@dataclass(frozen=True, slots=True)
class Wait:
    """An engine asks others for what is not here."""

    wanted: Sequence[CID]
    seconds: float
    """How long at most for each of them; for a content, how long though nothing of it comes."""
    of_content: bool
    others: Callable[[], int]
    """How many other engines ours is connected to. Raises `EngineError`."""


Waits = Callable[[Wait], contextlib.AbstractContextManager[None]]
"""The context of a wait, which may tell people of it. What is here ends at once."""


def untold(_wait: Wait) -> contextlib.AbstractContextManager[None]:
    """Nobody is told of a wait."""
    return contextlib.nullcontext()


class EngineSource:
    """An engine, which may look for a block for ``timeout`` seconds. What the home ``dropped`` is not fetched again.

    Whatever may have to wait for others is within ``waits``, in several threads.
    """

    def __init__(
        self, engine: Engine, timeout: float, dropped: Container[CID] = frozenset(), waits: Waits = untold
    ) -> None:
        self._engine = engine
        self._waits = waits
        self._dropped = dropped
        self._is_local = engine.status().kind == "local"
        self._timeout = 0.0 if self._is_local else timeout  # nobody else will bring a block into a directory
        self._recent = lru_cache(maxsize=_REMEMBERED)(self._read)
        self._in_vain = deque[CID](maxlen=_REMEMBERED)

    def get(self, cid: CID) -> bytes:
        """As `RunSource` says. A block that was read a moment ago is not asked for again, and one that was looked for
        in vain only briefly, since several parts of an audit may need it."""
        return self._recent(cid)

    def content(self, root: CID, limit: int) -> Iterator[Block]:
        """As `RunSource` says. The content is fetched if need be, and pinned: an auditor keeps what it audited."""
        if root in self._dropped and not self._engine.has(root):
            raise MissingBlock(root)
        try:
            if not self._is_local:
                with self._waiting(root, seconds=self._timeout, of_content=True):
                    self._make_local(root, limit)
            yield from self._engine.read_content(root)
        except Unreachable as error:
            self._in_vain.append(error.cid)
            raise MissingBlock(error.cid) from error
        except CarError as error:
            if isinstance(error.__cause__, BlockMismatch):
                raise error.__cause__ from error
            raise

    def _make_local(self, root: CID, limit: int) -> None:
        """Fetch a content. It is not missing as long as some of it comes."""
        while True:
            with contextlib.suppress(StillComing):
                self._engine.fetch(root, timeout=self._timeout, limit=limit)
                return

    def content_size(self, root: CID, limit: int) -> int:
        """As `RunSource` says."""
        return sum(len(block.data) for block in self.content(root, limit))

    def hurry(self) -> None:
        """As `RunSource`."""
        self._timeout = min(self._timeout, HURRIED)

    def prefetch(self, cids: Sequence[CID]) -> None:
        """Fetch the blocks side by side if the node does not have them. What fails here fails again when it is read."""
        if self._is_local or not cids or self._engine.has(cids[0]):
            return
        with self._waiting(*cids, seconds=self._timeout), ThreadPoolExecutor(8, "prefetch") as pool:
            for fetched in [pool.submit(self._engine.get, cid, timeout=self._timeout) for cid in cids]:
                fetched.exception()

    def _read(self, cid: CID) -> bytes:
        seconds = min(self._timeout, HURRIED) if cid in self._in_vain else self._timeout
        try:
            with self._waiting(cid, seconds=seconds):
                return self._engine.get(cid, timeout=seconds)
        except Unreachable as error:
            self._in_vain.append(cid)
            raise MissingBlock(error.cid) from error

    def _waiting(
        self, *wanted: CID, seconds: float, of_content: bool = False
    ) -> contextlib.AbstractContextManager[None]:
        if self._is_local:
            return contextlib.nullcontext()
        return self._waits(Wait(wanted, seconds, of_content, self._others))

    def _others(self) -> int:
        streams = self._engine.streams
        return 0 if streams is None else len({*streams.nodes()} - {streams.own_name})


class CarSource:
    """A CAR file. Its index is on disk. Each block is checked when the file is opened, and again when it is read: it is
    hashed once, and has to have the mark of the bytes that were hashed from then on.

    Memory does not grow with the file: some blocks are in it while they are checked side by side.
    """

    def __init__(self, path: Path) -> None:
        """Raises:
        PeerError: if the file cannot be read, or is no CAR of one root.
        """
        self._reading = threading.Lock()  # an app under replay may read its replies in threads of its own
        self._index = sqlite3.connect("", isolation_level=None, check_same_thread=False)
        self._index.executescript(
            "CREATE TABLE blocks (cid BLOB PRIMARY KEY, at INTEGER, size INTEGER, mark BLOB) WITHOUT ROWID;"
            "CREATE TABLE bad (digest BLOB PRIMARY KEY) WITHOUT ROWID; BEGIN"
        )
        self.damage: list[str] = []
        """What is wrong with the file, up to `MAX_DAMAGE` broken sections."""
        self._broken = ""
        """Why no section follows that can be told from the others, if one is broken."""
        self.cut_short = ""
        """Where the file ends, if it ends in the middle of something."""
        try:
            self._file = path.open("rb")
            self.roots, sections = read_sections(self._file)
            self._scan(sections)
        except OSError as error:
            fix = "name a file that peer export RUN FILE.car has written"
            raise PeerError(f"{path} cannot be read: {error.strerror}", fix=fix) from error
        except CarError as error:
            raise PeerError(
                f"{path} is no CAR file, or its header is damaged: {error}",
                fix="get it again from whoever exported it: peer export HEAD FILE.car",
                code=ExitCode.UNFINISHED if isinstance(error, CarCutShort) else ExitCode.WRONG_USE,
            ) from error

    def close(self) -> None:
        """Close the file."""
        self._file.close()
        self._index.close()

    def get(self, cid: CID) -> bytes:
        """As `RunSource` says."""
        with self._reading:
            at, size, known = self._place(cid)
            self._file.seek(at)
            data = self._file.read(size)
        return data if known is not None and has_mark(data, known) else checked_block(cid, data).data

    def content(self, root: CID, limit: int) -> Iterator[Block]:
        """As `RunSource` says. The file is here already, so no limit is kept."""
        return walk(root, lambda cid: Block(cid, self.get(cid)))

    def content_size(self, root: CID, limit: int) -> int:
        """As `RunSource` says. Chunks are not read again for it: they were checked when the file was opened."""
        return sum(map(self._checked_size, reached(root, self._links)))

    def prefetch(self, cids: Sequence[CID]) -> None:
        """Nothing to do."""

    def hurry(self) -> None:
        """Nothing to do."""

    def blocks(self, *, chunks: bool = True) -> Iterator[Block]:
        """Every sound block in the file, once; without ``chunks`` those alone that have a structure."""
        for (data,) in self._index.execute("SELECT cid FROM blocks WHERE mark IS NOT NULL ORDER BY at"):
            cid = CID(data)
            if cid.is_raw and not chunks:
                continue
            with contextlib.suppress(BlockMismatch):  # the file has changed since it was opened
                yield Block(cid, self.get(cid))

    def _links(self, cid: CID) -> Sequence[CID]:
        return () if cid.is_raw else links_of(Block(cid, self.get(cid)))

    def _checked_size(self, cid: CID) -> int:
        with self._reading:
            _, size, known = self._place(cid)
        return size if known is not None else len(self.get(cid))

    def _place(self, cid: CID) -> tuple[int, int, bytes | None]:
        """Where a block is in the file, its size, and the mark of its bytes; None if they were not its own when the
        file was opened."""
        row = self._index.execute("SELECT at, size, mark FROM blocks WHERE cid = ?", (bytes(cid),)).fetchone()
        if row is None:
            if self._index.execute("SELECT 1 FROM bad WHERE digest = ?", (cid.digest,)).fetchone():
                raise BlockMismatch(cid, b"")  # its bytes are here under another CID: damaged, not missing
            raise MissingBlock(cid)
        return int(row[0]), int(row[1]), row[2]

    def _scan(self, sections: Iterable[Section]) -> None:
        for checked in side_by_side(_checked, self._batches(sections)):
            for each in checked:
                self._add(each)
        if self._broken:
            self._damaged(self._broken)

    def _batches(self, sections: Iterable[Section]) -> Iterator[list[Section]]:
        """The sections up to where the file is cut short or broken, some at a time."""
        batch: list[Section] = []
        size = 0
        try:
            for section in sections:
                batch.append(section)
                size += len(section.data) + _PER_SECTION
                if size >= BATCH:
                    yield batch
                    batch, size = [], 0
        except CarCutShort as error:
            self.cut_short = str(error)
        except CarError as error:
            self._broken = str(error)
        yield batch

    def _add(self, checked: _Checked) -> None:
        """Index a section. A damaged one is indexed too, unless a sound one has its CID."""
        section, error = checked.section, checked.error
        place = (section.cid, section.data_offset, len(section.data))
        if error is None:
            self._index.execute("INSERT OR REPLACE INTO blocks VALUES (?, ?, ?, ?)", (*place, checked.mark))
            return
        self._damaged(f"the section at byte {section.offset}: {error}")
        self._index.execute("INSERT OR IGNORE INTO bad VALUES (?)", (hashlib.sha256(section.data).digest(),))
        if isinstance(error, BlockMismatch):
            self._index.execute("INSERT OR IGNORE INTO blocks VALUES (?, ?, ?, NULL)", place)

    def _damaged(self, what: str) -> None:
        if len(self.damage) < MAX_DAMAGE:
            self.damage.append(what)


@dataclass(frozen=True, slots=True)
class _Checked:
    """A section, and what is wrong with it, or the mark of its bytes."""

    section: Section
    error: BlockError | None
    mark: bytes


def _checked(sections: Sequence[Section]) -> list[_Checked]:
    return [_checked_section(section) for section in sections]


def _checked_section(section: Section) -> _Checked:
    try:
        checked_block(CID(section.cid), section.data)
    except (MalformedCid, BlockMismatch) as error:
        return _Checked(section, error, b"")
    return _Checked(section, None, mark(section.data))

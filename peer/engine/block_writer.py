"""Writing blocks as files, many at a time, each of them whole or not there.

A block is written to a file elsewhere, synced, renamed to its name, and the folder is synced. So a block's file is
always whole, even after a power cut.
"""

from __future__ import annotations

import itertools
import os
import secrets
import socket
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cached_property
from pathlib import Path
from typing import Final

from peer.base.durable_files import sync_folder, write_synced
from peer.engine.disk_errors import translated
from protocol.blocks.cid import CID, Block

_WRITERS: Final = 8
"""Threads that write and sync: syncs side by side share the disk's flushes."""

_IN_FLIGHT: Final = 2 * _WRITERS
"""Blocks that wait for the writers at most, which bounds memory at 16 MiB. With more of them, each block would be made
in memory that was not used a moment ago."""


class BlockWriter:
    """Writes blocks to files of their own below the folder ``blocks``, each at the ``place`` of its CID, in a folder of
    ``blocks``. What is half-written is in ``temporary``, on the same disk. Safe from several threads and processes."""

    def __init__(self, blocks: Path, temporary: Path, place: Callable[[CID], Path]) -> None:
        self._blocks = blocks
        self._temporary = temporary
        self._place = place
        self._prefix = owner_token()
        self._count = itertools.count()
        self._pool = ThreadPoolExecutor(_WRITERS, thread_name_prefix="block-writer")

    def put(self, blocks: Iterable[Block], then: Callable[[], Iterable[Path]] = tuple) -> int:
        """Store ``blocks``, all on disk at return. Returns how many bytes were new.

        ``then`` is called once each has its name. The folders that it returns are synced side by side with those of the
        blocks. Raises what that raises; then the names may go in a power cut.

        Raises:
            StorageFull: if the disk is full. None of the new blocks is left then, and nothing half-written.
            EngineUnavailable: if the folder cannot be written.
        """
        with translated(self._blocks):
            return self._put(blocks, then)

    def sweep(self) -> None:
        """Remove what dead processes of this machine left half-written."""
        for path in self._temporary.iterdir():
            host, _, rest = path.name.partition("~")
            pid = rest.partition(".")[0]
            if host == _host() and pid.isdigit() and not _is_alive(int(pid)):
                path.unlink(missing_ok=True)

    def close(self) -> None:
        """Wait for the writes under way, and end the writers."""
        self._pool.shutdown()

    @cached_property
    def _lasting(self) -> set[Path]:
        """Folders in ``blocks`` whose own names outlast a power cut: all that were there at the first look. One that
        came later may be another's, who has not synced its name yet."""
        found = set(self._blocks.iterdir())
        sync_folder(self._blocks)
        return found

    def _put(self, blocks: Iterable[Block], then: Callable[[], Iterable[Path]]) -> int:
        cids: list[CID] = []
        last: Block | None = None  # a record is one block, which takes no other thread
        written: list[Future[Path]] = []
        paths: list[Path] = []
        seen: set[CID] = set()
        folders: set[Path] = set()
        fresh = 0
        try:
            for block in blocks:
                folders.add(self._place(block.cid).parent)
                if block.cid in seen or self._holds(block):
                    continue
                seen.add(block.cid)
                cids.append(block.cid)
                if last is not None:
                    written.append(self._pool.submit(self._write, last))
                last = block
                fresh += len(block.data)
                if len(written) >= _IN_FLIGHT:
                    written[-_IN_FLIGHT].result()
            # No rename before all are written, so that a full disk leaves nothing behind.
            paths = [self._write(last)] if last is not None else []
            paths[:0] = [future.result() for future in written]
            for cid, path in zip(cids, paths, strict=True):
                self._rename(path, self._place(cid))
        except BaseException:
            self._discard(written, paths)
            raise
        # Also the folders of blocks that were here already: another process may have renamed those a moment ago.
        new = folders - self._lasting
        self._sync(*folders.union(then(), [self._blocks] if new else []))
        self._lasting.update(new)
        return fresh

    def _holds(self, block: Block) -> bool:
        """Whether the block's file has its bytes. A file that a disk damaged, or a crash emptied, is written again."""
        path = self._place(block.cid)
        try:
            return path.stat().st_size == len(block.data) and path.read_bytes() == block.data
        except FileNotFoundError:
            return False

    def _write(self, block: Block) -> Path:
        path = self._temporary / f"{self._prefix}.{next(self._count)}"
        try:
            write_synced(path, block.data)
        except BaseException:
            path.unlink(missing_ok=True)
            raise
        return path

    def _rename(self, source: Path, target: Path) -> None:
        try:
            source.replace(target)
        except FileNotFoundError:
            target.parent.mkdir(exist_ok=True)
            source.replace(target)

    def _sync(self, *folders: Path) -> None:
        """All side by side. The last one takes no other thread."""
        others = [self._pool.submit(sync_folder, folder) for folder in folders[:-1]]
        for folder in folders[-1:]:
            sync_folder(folder)
        for other in others:
            other.result()

    def _discard(self, written: Iterable[Future[Path]], paths: Iterable[Path]) -> None:
        for path in (*paths, *(future.result() for future in written if future.exception() is None)):
            path.unlink(missing_ok=True)


def owner_token() -> str:
    """A name that no other engine has, and that tells which process owns the files with it."""
    return f"{_host()}~{os.getpid()}.{secrets.token_hex(4)}"


def _host() -> str:
    return socket.gethostname().replace("/", "_")


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True

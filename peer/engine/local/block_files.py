"""Blocks as files named by their CIDs, in one directory that many processes may share.

A block is written to a file in ``tmp/``, synced, renamed to ``blocks/<first byte of the digest>/<CID>``, and the
folder is synced. So a block's file is always whole, even after a power cut.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import secrets
import socket
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Final

from peer.engine.interface import EngineUnavailable, StorageFull
from protocol.blocks.cid import CID, Block, MissingBlock, checked_block

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

    def close(self) -> None:
        """Wait for the writes under way, and end the writers."""
        self._pool.shutdown()

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
        folders.update(then())
        # Also the folders of blocks that were here already: another process may have renamed those a moment ago.
        list(self._pool.map(sync_folder, folders))
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
            sync_folder(self._blocks)
            source.replace(target)

    def _discard(self, written: Iterable[Future[Path]], paths: Iterable[Path]) -> None:
        for path in (*paths, *(future.result() for future in written if future.exception() is None)):
            path.unlink(missing_ok=True)


class BlockFiles:
    """The block files under one directory. Safe from several threads and processes."""

    def __init__(self, directory: Path) -> None:
        self._blocks = directory / "blocks"
        self._temporary = directory / "tmp"
        self._writer = BlockWriter(self._blocks, self._temporary, self._path)
        with translated(directory):
            self._blocks.mkdir(parents=True, exist_ok=True)
            self._temporary.mkdir(exist_ok=True)
            self._sweep()
            sync_folder(directory)

    def put(self, blocks: Iterable[Block], then: Callable[[], Iterable[Path]] = tuple) -> int:
        """As `BlockWriter.put`."""
        return self._writer.put(blocks, then)

    def read(self, cid: CID) -> Block:
        """The block ``cid``.

        Raises:
            MissingBlock: if there is no such file.
            protocol.blocks.cid.BlockMismatch: if the file holds other bytes.
        """
        with translated(self._blocks):
            try:
                data = self._path(cid).read_bytes()
            except FileNotFoundError:
                raise MissingBlock(cid) from None
        return checked_block(cid, data)

    def size(self, cid: CID) -> int | None:
        """How many bytes the block's file has; None if there is none."""
        with translated(self._blocks):
            try:
                return self._path(cid).stat().st_size
            except FileNotFoundError:
                return None

    def remove(self, cids: Iterable[CID]) -> None:
        """Delete blocks for good. Those that are not here do no harm. The caller keeps others from relying on them."""
        folders: set[Path] = set()
        with translated(self._blocks):
            for cid in cids:
                path = self._path(cid)
                with contextlib.suppress(FileNotFoundError):
                    path.unlink()
                    folders.add(path.parent)
            for folder in folders:
                sync_folder(folder)

    def total_bytes(self) -> int:
        """How many bytes all blocks have."""
        with translated(self._blocks):
            return sum(path.stat().st_size for path in self._blocks.glob("*/*"))

    def close(self) -> None:
        """Wait for the writes under way, and end the writers."""
        self._writer.close()

    def _path(self, cid: CID) -> Path:
        return self._blocks / f"{cid.digest[0]:02x}/{cid}"

    def _sweep(self) -> None:
        """Remove what dead processes of this machine left half-written."""
        for path in self._temporary.iterdir():
            host, _, rest = path.name.partition("~")
            pid = rest.partition(".")[0]
            if host == _host() and pid.isdigit() and not _is_alive(int(pid)):
                path.unlink(missing_ok=True)


def owner_token() -> str:
    """A name that no other engine has, and that tells which process owns the files with it."""
    return f"{_host()}~{os.getpid()}.{secrets.token_hex(4)}"


def write_synced(path: Path, data: bytes) -> None:
    """Write ``data`` to the new file ``path``, and sync the file, but not its folder."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
    try:
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(descriptor, rest) :]
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_folder(folder: Path) -> None:
    """Make the names in ``folder`` durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def translated(place: Path) -> Iterator[None]:
    """Turn an `OSError` into the engine's own errors.

    Raises:
        StorageFull: if the disk or the quota is full.
        EngineUnavailable: for any other error.
    """
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise StorageFull(
                f"the disk that holds {place} is full", f"free some space, then start again: df -h {place}"
            ) from error
        raise EngineUnavailable(f"cannot use {place}: {error}", f"look at: ls -ld {place}") from error


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

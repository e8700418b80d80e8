"""Blocks as files named by their CIDs, in one directory that many processes may share.

What is half-written is in ``tmp/``. A block's file is ``blocks/<first byte of the digest>/<CID>``.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable
from pathlib import Path

from peer.base.durable_files import sync_folder
from peer.engine.block_writer import BlockWriter
from peer.engine.disk_errors import translated
from protocol.blocks.cid import CID, Block, MissingBlock, checked_block


class BlockFiles:
    """The block files under one directory. Safe from several threads and processes."""

    def __init__(self, directory: Path) -> None:
        self._blocks = directory / "blocks"
        self._temporary = directory / "tmp"
        self._writer = BlockWriter(self._blocks, self._temporary, self._path)
        with translated(directory):
            self._blocks.mkdir(parents=True, exist_ok=True)
            self._temporary.mkdir(exist_ok=True)
            self._writer.sweep()
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

    def name_again(self, cid: CID, name: Path) -> None:
        """Have a file with this name too, unless there is one. It is the block's own, or, if that is not here, or may
        have no second name, an empty one."""
        try:
            os.link(self._path(cid), name)
        except FileExistsError:
            pass
        except OSError:
            name.touch()

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

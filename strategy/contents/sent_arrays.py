"""The large arrays of what a ServerApp has sent. The app keeps them, although few read them again: Flower's strategies
hold the first model to the end of the run, and the newest while they make the next one."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from flwr.app import Array, RecordDict

from strategy.contents.array_files import ArrayFile, aligned, room_for_files
from strategy.contents.arrays import is_plain
from strategy.contents.codec import ALWAYS_INLINE

FILES: Final = 16
"""Files that may be open. An app that keeps more of what it sent has it in memory."""

_SHARE: Final = 4
"""Which part of the room on the disk they may have. Half of it is for replies."""


_WORTH_COLLECTING: Final = 8 << 20
"""Bytes that are sent together, from which on what was sent and received before is looked for among Python's garbage:
Flower's records are in cycles once they were read, and with them go the files of their arrays."""


class SentArrays:
    """Has the arrays of sent contents in files without names, one for what is sent together, as long as the app has
    them. Safe from several threads as far as its callers send one after another."""

    def __init__(self, folder: Path, files: int = FILES) -> None:
        """``folder`` is on the disk for the files."""
        self._folder = folder
        self._most = files
        self.hides = False
        """Whether something was sent that nobody may read on the disk."""
        self._files: weakref.WeakSet[ArrayFile] = weakref.WeakSet()

    def move(self, contents: Iterable[RecordDict], *, hidden: bool) -> None:
        """Have arrays that are in memory read from a file from now on, ``hidden`` from whoever reads the disk. If there
        is no room for that, they stay where they are."""
        self.hides |= hidden
        arrays = list({id(array): array for content in contents for array in _large(content)}.values())
        size = sum(aligned(len(array.data)) for array in arrays)
        if size >= _WORTH_COLLECTING or len(self._files) >= self._most:
            gc.collect()
        if not size or len(self._files) >= self._most:
            return
        try:
            if size > room_for_files(self._folder, sum(file.size for file in self._files), share=_SHARE):
                return
            file = ArrayFile(self._folder, size, hidden=hidden)
            self._files.add(file)
            for array in arrays:
                file.take(array)
        except OSError:
            return


def _large(content: RecordDict) -> Iterable[Array]:
    return (
        array
        for record in content.array_records.values()
        for array in record.values()
        # what is no ``bytes`` the app may write to
        if is_plain(array) and type(array.data) is bytes and len(array.data) > ALWAYS_INLINE
    )

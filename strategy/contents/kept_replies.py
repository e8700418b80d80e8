"""Replies that were read to be examined. They are kept for the app, so that each is read once."""

from __future__ import annotations

import gc
import threading
import time
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from flwr.app import Array, RecordDict

from protocol.blocks.cid import CID
from protocol.pacing.at_most_every import AtMostEvery
from strategy.contents.array_files import ArrayFile, bytes_in_memory, room_for_files, space_for

SMALL: Final = 64 << 20
"""Bytes of arrays that are kept in memory: those that stand in the bodies of contents. Larger arrays are in files."""

FILES: Final = 256
"""Files that may be open, those of replies that the app has got among them. Many systems allow a process 1,024."""

COLLECT_AGAIN: Final = 5.0
"""Seconds between two looks for Python's garbage at least. One takes 0.05 s or more, and each reply beyond `FILES` that
the app holds would have one."""


class KeptReplies:
    """The newest examined replies, by the message they answer. Each stays until it is taken. Safe from several
    threads.

    A reply for which the disk has no room, or which would be one too many, is not kept: it is read again for the app.
    """

    def __init__(self, folder: Path, small: int = SMALL, files: int = FILES) -> None:
        """``folder`` is on the disk for the files, which have no names in it."""
        self._folder = folder
        self._small = small
        self._most = files
        self._lock = threading.Lock()
        self._sizes: dict[bytes, int] = {}
        """Bytes in memory of each reply that has room here, oldest first, set before it is read."""
        self._held = 0
        self._replies: dict[bytes, tuple[CID, RecordDict]] = {}
        self._files: weakref.WeakSet[ArrayFile] = weakref.WeakSet()
        """Those that are in use still, here or by the app."""
        self._may_collect = AtMostEvery(COLLECT_AGAIN)

    def make_room(self, message: bytes, arrays: Sequence[Array], *, hidden: bool) -> ArrayFile | None:
        """A file for those of a reply's ``arrays`` that are not in memory, ``hidden`` from whoever reads the disk; None
        if the reply may not be put here. The oldest are forgotten for it."""
        size, small = space_for(arrays), bytes_in_memory(arrays)
        with self._lock:
            self._forget(message)
            if small > self._small:
                return None
            while self._sizes and (self._held + small > self._small or (size and len(self._files) >= self._most)):
                self._forget(next(iter(self._sizes)))
            file = self._file(size, hidden)
            if file is not None:
                self._sizes[message] = small
                self._held += small
            return file

    def put(self, message: bytes, content: CID, records: RecordDict | None) -> None:
        """Keep the records of a ``content`` if it still has room. If ``records`` is None, its room is free again."""
        with self._lock:
            if records is None:
                self._forget(message)
            elif message in self._sizes:
                self._replies[message] = (content, records)

    def take(self, message: bytes, content: CID | None) -> RecordDict | None:
        """The records of the ``content`` that answers ``message``, if they are here. They are forgotten with this call,
        and so is whatever else answers ``message``."""
        with self._lock:
            kept, records = self._replies.get(message, (None, None))
            self._forget(message)
            return records if kept == content else None

    def _file(self, size: int, hidden: bool) -> ArrayFile | None:
        if size and len(self._files) >= self._most:
            if self._may_collect.take(None, time.monotonic()):
                gc.collect()  # Flower's records are in cycles once they were read
            if len(self._files) >= self._most:
                return None
        try:
            if size > room_for_files(self._folder, sum(file.size for file in self._files)):
                return None
            file = ArrayFile(self._folder, size, hidden=hidden)
        except OSError:
            return None
        if size:
            self._files.add(file)
        return file

    def _forget(self, message: bytes) -> None:
        self._held -= self._sizes.pop(message, 0)
        self._replies.pop(message, None)

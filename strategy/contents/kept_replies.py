"""Replies that were read to be examined. They are kept for the app, so that each is read once."""

from __future__ import annotations

import threading
from typing import Final

from flwr.app import RecordDict

from protocol.blocks.cid import CID

KEPT: Final = 1 << 30
"""Bytes of arrays that are kept. A reply that finds no room is read again for the app."""


class KeptReplies:
    """The newest examined replies, by the message they answer. Each stays until it is taken. Safe from several
    threads."""

    def __init__(self, limit: int = KEPT) -> None:
        self._limit = limit
        self._lock = threading.Lock()
        self._sizes: dict[bytes, int] = {}
        """Bytes of each reply that has room here, oldest first, set before it is read."""
        self._held = 0
        self._replies: dict[bytes, tuple[CID, RecordDict]] = {}

    def make_room(self, message: bytes, size: int) -> bool:
        """Whether a reply of ``size`` bytes may be put here. The oldest are forgotten for it."""
        with self._lock:
            self._forget(message)
            if size > self._limit:
                return False
            while self._held + size > self._limit:
                self._forget(next(iter(self._sizes)))
            self._sizes[message] = size
            self._held += size
            return True

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

    def _forget(self, message: bytes) -> None:
        self._held -= self._sizes.pop(message, 0)
        self._replies.pop(message, None)

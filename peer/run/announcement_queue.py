"""The announcements that wait for the machine, with a bound, so that a flood cannot fill our memory."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from hashlib import sha256
from typing import Final

from protocol.roles.events import Received

MAX_WAITING: Final = 4096
"""Some tenths of a second of work. Whatever is dropped is announced again."""

REMEMBERED: Final = 4096
"""The number of announcements that are recognised if they come again."""

MAX_BYTES: Final = 32 << 20


class AnnouncementQueue:
    """Hands announcements on, and counts those that it drops because too many wait. Safe to use from several threads.

    It treats all authors alike, because an announcement's author is known only after the inbox has opened it.
    """

    def __init__(self, hand_on: Callable[[Received], None]) -> None:
        self.dropped = 0
        self._hand_on = hand_on
        self._waiting = self._bytes = 0
        self._recent: OrderedDict[bytes, None] = OrderedDict()
        self._lock = threading.Lock()

    def receive(self, data: bytes) -> None:
        """Take an announcement from pubsub."""
        self._take(data, is_told=False)

    def told(self, data: bytes) -> bool:
        """Take an announcement from a member that we asked, or that asks us, unless pubsub brought it already. Returns
        whether it is news."""
        return self._take(data, is_told=True)

    def _take(self, data: bytes, *, is_told: bool) -> bool:
        digest = sha256(data).digest()
        with self._lock:
            if is_told and digest in self._recent:
                return False
            if self._waiting >= MAX_WAITING or self._bytes + len(data) > MAX_BYTES:
                self.dropped += 1
                return False
            self._waiting += 1
            self._bytes += len(data)
            self._recent[digest] = None
            if len(self._recent) > REMEMBERED:
                self._recent.popitem(last=False)
        self._hand_on(Received(data))
        return True

    def taken(self, event: Received) -> None:
        """The machine has taken a waiting announcement."""
        with self._lock:
            self._waiting -= 1
            self._bytes -= len(event.data)

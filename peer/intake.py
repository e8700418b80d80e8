"""The announcements that wait for the machine: no more than a flood may take of our memory."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Final

from protocol.events import Received

MAX_WAITING: Final = 4096
"""Some tenths of a second's work; what is said that long ago is said again."""

MAX_BYTES: Final = 32 << 20


class Intake:
    """Hands announcements on, and counts those that it drops because too many wait. Safe from several threads.

    Who is too loud is known only once an announcement is open, which the inbox does; here all are alike.
    """

    def __init__(self, hand_on: Callable[[Received], None]) -> None:
        self.dropped = 0
        self._hand_on = hand_on
        self._waiting = self._bytes = 0
        self._lock = threading.Lock()

    def receive(self, data: bytes) -> None:
        """An announcement came."""
        with self._lock:
            if self._waiting >= MAX_WAITING or self._bytes + len(data) > MAX_BYTES:
                self.dropped += 1
                return
            self._waiting += 1
            self._bytes += len(data)
        self._hand_on(Received(data))

    def taken(self, event: Received) -> None:
        """The machine takes one that waited."""
        with self._lock:
            self._waiting -= 1
            self._bytes -= len(event.data)

"""Handing announcements to a receiver, the same way for both engines."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Final

from peer.engine.interface import EngineError

MAX_ANNOUNCEMENT: Final = 1 << 20
"""Bytes in one announcement at most. Kubo's pubsub drops longer ones without a word."""

_log = logging.getLogger(__name__)


def check_size(data: bytes) -> None:
    """Refuse an announcement that Kubo would drop without a word.

    Raises:
        EngineError: if ``data`` is over ``MAX_ANNOUNCEMENT``.
    """
    if len(data) > MAX_ANNOUNCEMENT:
        raise EngineError(f"an announcement of {len(data)} bytes is over the limit of {MAX_ANNOUNCEMENT}")


class Delivery:
    """Calls one receiver with each announcement, until it is closed.

    An exception in the receiver is logged, not passed on: one bad announcement must not end a subscription.
    """

    def __init__(self, receive: Callable[[bytes], None]) -> None:
        self._receive = receive
        self._closed = False
        self._lock = threading.RLock()  # re-entrant: a receiver may close its own subscription

    def hand(self, data: bytes) -> None:
        """Call the receiver with ``data``, unless `close` was called."""
        with self._lock:
            if self._closed:
                return
            try:
                self._receive(data)
            except Exception:  # noqa: BLE001  # whatever it is, it is logged whole
                _log.exception("the receiver of an announcement raised")

    def close(self) -> None:
        """Begin no further call. Waits for a call that runs in another thread."""
        with self._lock:
            self._closed = True

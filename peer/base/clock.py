"""The clock of a running peer."""

from __future__ import annotations

import time


class Clock:
    """Seconds since 1970 that never go back, even if the machine's clock does."""

    def __init__(self) -> None:
        self._offset = time.time() - time.monotonic()

    def now(self) -> float:
        """The time now."""
        return self._offset + time.monotonic()

"""The time that a running peer goes by."""

from __future__ import annotations

import time


class Clock:
    """Seconds since 1970 that never fall, whatever is done to the machine's clock."""

    def __init__(self) -> None:
        self._offset = time.time() - time.monotonic()

    def now(self) -> float:
        """Now."""
        return self._offset + time.monotonic()

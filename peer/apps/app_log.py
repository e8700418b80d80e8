"""The app's output goes to a log file. If the file grows too long, its beginning is cut off."""

from __future__ import annotations

from pathlib import Path
from typing import Final

LIMIT: Final = 64 << 20
"""A log longer than this many bytes is cut."""

KEPT: Final = 8 << 20
"""Bytes at the end that stay."""

LOOK: Final = 2.0
"""Seconds between checks of the size."""


def keep_short(log: Path, limit: int = LIMIT, kept: int = KEPT) -> bool:
    """Cut the beginning off a log that is longer than ``limit``. Returns whether it was.

    The app has the file open for appending, so it goes on at the new end. What it writes during the cut is lost.
    """
    if not log.exists() or log.stat().st_size <= limit:
        return False
    with log.open("r+b") as file:
        file.seek(-kept, 2)
        file.readline()  # the rest of a line
        newest = file.read(kept)
        file.truncate(0)
    with log.open("ab") as file:
        file.write(b"[the beginning of this log was taken out: it was too long]\n" + newest)
    return True

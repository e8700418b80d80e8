"""What an app prints, in a file that stays small enough for a disk: of too much, the newest is kept."""

from __future__ import annotations

from pathlib import Path
from typing import Final

LIMIT: Final = 64 << 20
"""Bytes over which the beginning is taken out."""

KEPT: Final = 8 << 20
"""Bytes of the end that stay."""

LOOK: Final = 2.0
"""Seconds between two looks at the size."""


def keep_short(log: Path, limit: int = LIMIT, kept: int = KEPT) -> bool:
    """Take the beginning out of a log that is over the limit; whether it was.

    Whoever writes to it has it open to append, and goes on at its new end; what is written in between is lost.
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

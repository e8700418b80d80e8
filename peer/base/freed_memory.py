"""Memory that a process freed a moment ago, and takes again."""

from __future__ import annotations

from typing import Final

LARGEST: Final = 8 << 20
"""Bytes. Twice as many that are free stay with the process."""


def keep_freed_memory() -> None:
    """Have this process use again what it frees, up to 16 MiB. Each message of a model of some MB makes and frees as
    many bytes several times, and a page that the kernel gives anew costs more than all that is done with its bytes.

    glibc keeps free memory up to twice the size of the largest block that was freed yet (mallopt(3), under
    ``M_MMAP_THRESHOLD``), so one is made and freed, and nothing is written to it. Other C libraries are not changed.
    """
    bytes(LARGEST)

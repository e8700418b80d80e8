"""How much a home may hold on its disk, and whether another exchange fits."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from protocol.keeping.plan import PlanError

MOST: Final = 1 << 60
"""Bytes of the largest budget."""

LEFT_FREE: Final = 1 << 30
"""Bytes of its disk that a home leaves free if nobody gives it a budget; a twentieth of a disk that is small."""


@dataclass(frozen=True, slots=True)
class AtMost:
    """So many bytes, of all runs together."""

    bytes: int

    def __str__(self) -> str:
        for unit, size in reversed(_UNITS.items()):
            if self.bytes and self.bytes % size == 0:
                return f"{self.bytes // size}{unit}"
        return f"{self.bytes}"


@dataclass(frozen=True, slots=True)
class LeaveFree:
    """Nobody said: the disk is not filled to its end (`LEFT_FREE`)."""

    def __str__(self) -> str:
        return "disk"


@dataclass(frozen=True, slots=True)
class NoBudget:
    """As much as the disk takes."""

    def __str__(self) -> str:
        return "none"


Budget = AtMost | LeaveFree | NoBudget

_UNITS: Final = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}
_SIZE: Final = re.compile(r"([0-9]{1,19})([KMGT]?)B?", re.ASCII)


def parse_budget(text: str) -> Budget:
    """The budget in ``text``: ``500G``, ``none`` or ``disk``. A ``K`` is 1000 bytes.

    Raises:
        PlanError: if it is none.
    """
    match text.strip().lower():
        case "none":
            return NoBudget()
        case "disk":
            return LeaveFree()
    match = _SIZE.fullmatch(text.strip().upper())
    if match is None or int(match[1]) * _UNITS[match[2]] > MOST:
        raise PlanError(f"{text!r} is no budget: say a size, such as 500G, or none, or disk")
    return AtMost(int(match[1]) * _UNITS[match[2]])


@dataclass(frozen=True, slots=True)
class Disk:
    """What is known of a home's disk."""

    used: int
    """Bytes that the home's runs hold."""
    free: int | None
    """Bytes that the disk has left; None if that is not known, as of a node elsewhere."""
    size: int
    """Bytes that the disk has; 0 if that is not known."""
    next: int
    """Bytes by which the next exchange may grow it, as far as the ones before tell."""


def excess(budget: Budget, disk: Disk) -> int:
    """How many bytes have to go until another exchange fits; 0 if it fits."""
    match budget:
        case NoBudget():
            return 0
        case AtMost(bytes=most):
            return max(0, disk.used + disk.next - most)
        case LeaveFree():
            left = min(LEFT_FREE, disk.size // 20)
            return 0 if disk.free is None else max(0, left + disk.next - disk.free)


def spare(budget: Budget) -> int:
    """How many bytes more than the excess go once some have to, so that it is not done anew for every exchange."""
    return budget.bytes // 50 if isinstance(budget, AtMost) else 0


def why_no_room(budget: Budget, disk: Disk) -> str:
    """Why another exchange does not fit; empty if it fits."""
    if not excess(budget, disk):
        return ""
    more = f"the next exchange may take {in_words(disk.next)} more"
    match budget:
        case AtMost(bytes=most):
            return f"the runs of this home take {in_words(disk.used)}, {more}, and its budget is {in_words(most)}"
        case _:
            return f"the disk has {in_words(disk.free or 0)} left, and {more}"


def in_words(count: int) -> str:
    """Bytes as people read them: ``1.5 GB``."""
    number = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if number < 999.5:
            return f"{number:.3g} {unit}"
        number /= 1000
    return f"{number:.3g} TB"

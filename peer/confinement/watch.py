"""Looks at a confined app again and again, and says when it takes too much."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Final

from peer.confinement.bounds import MAX_ALL_OPEN, MAX_FILES, Usage, exceeded
from peer.confinement.disk import Disk
from peer.confinement.machine import machine_memory, memory_left
from peer.confinement.processes import (
    Process,
    descendants,
    in_memory_files,
    opened,
    proportional,
    resident,
    unlinked,
)
from peer.confinement.rules import Confinement

_LEAST_LEFT: Final = 32
"""Which part of a machine's memory has to stay, whoever took the rest."""


class Watch:
    """The watch over a confined process, whose descendants are all that it has started: none can leave it."""

    interval: Final = 0.5
    """Seconds between two looks."""

    def __init__(self, process: int, confinement: Confinement) -> None:
        self._process = process
        self._confinement = confinement
        others = [place for place in confinement.write if place not in confinement.own]
        self._disk = Disk(confinement.own, others, confinement.disk, MAX_FILES)
        self._least_left = machine_memory() // _LEAST_LEFT

    def exceeded(self) -> str:
        """Why what they take is too much; empty if it is not."""
        processes = descendants(self._process)
        for each in processes:
            _sacrifice(each)
        usage = self._usage(processes)
        why = exceeded(usage, self._confinement)
        if why and usage.memory > self._confinement.memory:
            # what processes share, as after a fork, is counted once before anybody is ended for it
            why = exceeded(replace(usage, memory=_shared_once(processes, usage.descriptors)), self._confinement)
        return why or self._used_up()

    def _usage(self, processes: list[Process]) -> Usage:
        has_open = opened(processes, MAX_ALL_OPEN)
        held = self._disk.held(lambda: unlinked(processes))
        return Usage(
            processes=sum(each.threads for each in processes),
            memory=resident(processes) + in_memory_files(processes) + has_open.buffers,
            descriptors=has_open.descriptors,
            disk=held.size,
            files=held.files,
        )

    def _used_up(self) -> str:
        """What this machine has hardly any of, so that an app has to end of which it cannot be told what it holds."""
        if memory_left() < self._least_left:
            return (
                "it was ended, as hardly any of this machine's memory was left; --max-memory SIZE bounds what it takes"
            )
        if (full := self._disk.nearly_full()) is not None:
            return f"it was ended, as hardly any space was left on the disk of {full}"
        return ""


def _shared_once(processes: list[Process], most: int) -> int:
    total, of_files = proportional(processes)
    in_memory = in_memory_files(processes)
    return total + in_memory - min(of_files, in_memory) + opened(processes, most).buffers


def _sacrifice(process: Process) -> None:
    """Have the kernel end this one before any other, should it run out of memory before we look. ``/proc`` is for
    reading alone where that runs, so it cannot take this back."""
    with suppress(OSError):
        Path(f"/proc/{process.pid}/oom_score_adj").write_text("1000")

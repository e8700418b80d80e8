"""Where a benchmark runs: its folder, its machine, and how each turn of it begins."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from measured import Json, machine
from measured.new_memory import filling, page_cost
from peer.base.errors import PeerError


@contextlib.contextmanager
def bench_folder(chosen: Path | None) -> Iterator[Path]:
    """The folder that people chose, which stays, or a temporary one, which stays if the benchmark fails: the error
    names a log in it."""
    if chosen is not None:
        chosen.mkdir(parents=True, exist_ok=True)
        yield chosen
        return
    folder = Path(tempfile.mkdtemp(prefix="pollen-bench-"))
    stays = False
    try:
        yield folder
    except PeerError:
        stays = True
        raise
    finally:
        if not stays:
            shutil.rmtree(folder, ignore_errors=True)


@dataclass(frozen=True, slots=True)
class Place:
    """A folder on a machine whose free memory may be filled before each turn."""

    folder: Path
    machine: Json
    """As `measured.machine` says, before anything ran."""
    fill: Callable[[], None]
    """Fills free memory, if that is wanted."""

    def clear(self, where: Path) -> None:
        """Begin a turn in the folder ``where``. What the turn before has written, or had deleted, is not this one's."""
        shutil.rmtree(where, ignore_errors=True)
        os.sync()
        self.fill()


@contextlib.contextmanager
def bench_place(chosen: Path | None, *, fill_memory: bool) -> Iterator[Place]:
    """The place of a benchmark in its `bench_folder`."""
    with bench_folder(chosen) as folder:
        cost = page_cost(folder)
        here = machine(cost)
        with filling(fill_memory, folder, cost) as fill:
            yield Place(folder, here, fill)

"""What this machine and this Python have, that confined processes may use."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from peer.confinement.rules import holds

OUR_ROOT = Path(__file__).resolve().parents[2]
"""The folder that Pollen's packages are in."""

_CONTAINER: Final = "/sys/fs/cgroup"

OUR_PACKAGES = ("crypto", "peer", "protocol", "strategy")


def existing(places: Sequence[Path]) -> tuple[Path, ...]:
    """Those that are there."""
    return tuple(place for place in places if place.exists())


def python_places(kept: Sequence[Path] = ()) -> list[Path]:
    """What this Python has, what is installed for it, and what is ours; nothing that holds what is to be ``kept`` from
    an app."""
    ours = [OUR_ROOT / name for name in OUR_PACKAGES]
    return [*ours, *(place for place in _python() if place.exists() and holds(place, kept) is None)]


def _python() -> list[Path]:
    prefixes = [sys.prefix, sys.base_prefix, sys.exec_prefix, sys.base_exec_prefix]
    # the first entry is where the script lies that was started, or where it was started: what is there is no package
    paths = sys.path if sys.flags.safe_path else sys.path[1:]
    installed = [entry for entry in paths if entry and Path(entry).resolve() not in (Path.cwd(), OUR_ROOT)]
    libraries = os.environ.get("LD_LIBRARY_PATH", "").split(os.pathsep)
    given = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    places = [Path(entry).absolute() for entry in (*prefixes, *installed, *libraries, *given) if entry]
    return list(dict.fromkeys([*places, *(place.resolve() for place in places)]))


def gpus() -> tuple[Path, ...]:
    """The devices of graphics processors, and what tells of them."""
    devices = Path("/dev")
    found = [*devices.glob("nvidia*"), *existing((devices / "dri", devices / "kfd", devices / "dxg"))]
    return tuple(sorted(found))


def machine_memory() -> int:
    """The bytes of memory that this machine, or the container that we are in, has."""
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return min(machine, _of_container("memory.max") or machine)


def memory_left() -> int:
    """The bytes of it that are free, or can be made free at once."""
    found = [int(line.split()[1]) << 10 for line in _lines("/proc/meminfo") if line.startswith("MemAvailable:")]
    most, taken = _of_container("memory.max"), _of_container("memory.current")
    if most is not None and taken is not None:
        cached = [
            int(line.split()[1]) for line in _lines(f"{_CONTAINER}/memory.stat") if line.startswith("inactive_file")
        ]
        found.append(most - taken + sum(cached))
    return min(found, default=machine_memory())


def _of_container(name: str) -> int | None:
    """A number of bytes that the container's group has; None if there is none."""
    try:
        return int(Path(_CONTAINER, name).read_text())
    except (OSError, ValueError):  # there is no bound but the machine's
        return None


def _lines(file: str) -> list[str]:
    try:
        return Path(file).read_text().splitlines()
    except OSError:
        return []

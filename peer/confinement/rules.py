"""What a confined app process may use. Only decisions: nothing is looked up, started or mounted here.

Whatever is not listed is not there for it: no other file, no network, no other process, no device, no variable of the
environment, no capability. What is listed keeps its path, so that an app finds everything where it was.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

SYSTEM: Final = tuple(
    map(
        Path,
        (
            *("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/nix/store"),
            *("/etc/ld.so.cache", "/etc/ld.so.conf", "/etc/ld.so.conf.d", "/etc/alternatives"),
            *("/etc/localtime", "/etc/timezone", "/etc/passwd", "/etc/group", "/etc/nsswitch.conf", "/etc/mime.types"),
            # the sizes of caches, by which numerical libraries choose their blocks: they may change the bits of sums
            *("/sys/devices/system/cpu", "/sys/devices/system/node"),
        ),
    )
)
"""What programs need of the system. Of ``/etc`` it is little: root reads all of it, and so would its app."""

FOR_NETWORK: Final = tuple(
    map(Path, ("/etc/resolv.conf", "/etc/hosts", "/etc/host.conf", "/etc/services", "/etc/ssl", "/etc/pki"))
)
"""The same of one that has the network."""

VARIABLES: Final = frozenset({"PATH", "LANG", "LANGUAGE", "TZ", "LD_LIBRARY_PATH", "CUDA_VISIBLE_DEVICES"})
"""The variables that are handed on, besides those of the locale (``LC_*``). The app process gets its own besides."""

TEMPORARY: Final = Path("/tmp")
"""Where a confined app has its home and its temporary files: a folder of its own, whatever is there outside."""

_SIZE: Final = re.compile(r"(\d+(?:\.\d+)?)([kKmMgGtT]?)(?:i?[bB])?")
_UNITS: Final = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}

_REFUSALS: Final = (
    (
        re.compile(r"FileNotFoundError|PermissionError|Read-only file system|No such file or directory"),
        "--allow-read DIR lets it read a folder or file",
    ),
    (
        re.compile(r"Network is unreachable|ConnectionRefusedError|Connection refused|gaierror|Name or service"),
        "it had no network",
    ),
    (
        re.compile(r"MemoryError|allocate memory|bad_alloc|not enough memory"),
        "--max-memory SIZE lets it take more",
    ),
    (
        re.compile(r"File too large|No space left on device"),
        "--max-disk SIZE lets its files take more",
    ),
    (
        re.compile(r"ModuleNotFoundError"),
        "--allow-read DIR lets it read a folder in which more is installed",
    ),
)
"""What an app raises if it is refused something, and what grants that."""

MAX_PROCESSES: Final = 1024
"""Processes and threads that an app may have at once."""

PATIENCE: Final = 600.0
"""`Grants.patience`, unless the owner says otherwise: the longest step of a run with large models is a fraction."""


@dataclass(frozen=True, slots=True)
class Grants:
    """What the owner lets an app use besides what every app needs."""

    read: tuple[Path, ...] = ()
    write: tuple[Path, ...] = ()
    network: bool = False
    gpu: bool = False
    variables: tuple[str, ...] = ()
    memory: int | None = None
    """Bytes for all its processes together; None for `default_memory`."""
    disk: int | None = None
    """Bytes for all files in its own folders; None for `default_disk`."""
    patience: float = PATIENCE
    """Seconds that an app under audit may take for its imports, or for one step of its run."""


@dataclass(frozen=True, slots=True)
class Confinement:
    """All that an app process may use."""

    read: tuple[Path, ...]
    write: tuple[Path, ...]
    memory: int
    disk: int
    own: tuple[Path, ...] = ()
    """The folders that are its own, ``/tmp`` among them. What is in them counts as its files."""
    network: bool = False
    devices: tuple[Path, ...] = ()
    processes: int = MAX_PROCESSES

    @property
    def shared_memory(self) -> int:
        """The bytes of ``/dev/shm``, which are memory."""
        return self.memory // 8

    def places(self) -> list[tuple[Path, bool]]:
        """Each file and folder, and whether it may be written, a folder before what is in it."""
        writable = dict.fromkeys(self.read, False) | dict.fromkeys(self.write, True)
        return sorted(writable.items())


def default_memory(machine: int) -> int:
    """What an app may use, unless its owner says otherwise, on a machine with so many bytes: half of them."""
    return machine // 2


def default_disk(free: int) -> int:
    """What an app's files may take, unless its owner says otherwise, with so many bytes free: half of them."""
    return free // 2


def hint_for(raised: str) -> str:
    """What may have been refused to a confined app that raised this, and what grants it; empty if that is unlikely."""
    said = next((hint for pattern, hint in _REFUSALS if pattern.search(raised)), "")
    return f"; it ran confined: {said}, and --unconfined lets it do all that you may" if said else ""


def parse_size(text: str) -> int:
    """A number of bytes, as people write it: ``8G``, ``500M``, ``1000000``.

    Raises:
        ValueError: if it is none.
    """
    found = _SIZE.fullmatch(text.strip())
    if found is None or float(found[1]) <= 0:
        raise ValueError(f"{text!r} is no size: write a number of bytes, or one such as 500M or 8G")
    return int(float(found[1]) * _UNITS[found[2].upper()])


def holds(folder: Path, kept: Iterable[Path]) -> Path | None:
    """Which of the places that are to be ``kept`` from an app is in ``folder``, or is it; None if none is."""
    return next((place for place in kept if place.is_relative_to(folder)), None)


def variables_of(environ: Mapping[str, str], granted: Iterable[str] = ()) -> dict[str, str]:
    """What of our environment an app process has."""
    names = VARIABLES | set(granted)
    return {name: value for name, value in environ.items() if name in names or name.startswith("LC_")}

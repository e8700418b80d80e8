"""From what an owner grants to a process that is confined: what this machine and this Python add to it."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from peer.base.errors import ExitCode, PeerError
from peer.confinement.means import Means, existing, required
from peer.confinement.rules import (
    FOR_NETWORK,
    SYSTEM,
    Confinement,
    Grants,
    default_memory,
    holds,
)
from peer.home.home import Home

OUR_ROOT = Path(__file__).resolve().parents[2]
"""The folder that Pollen's packages are in."""

OUR_PACKAGES = ("crypto", "peer", "protocol", "strategy")


@dataclass(frozen=True, slots=True)
class Confiner:
    """Confines app processes: the means, what the owner grants, and what is kept from an app by itself."""

    means: Means
    grants: Grants
    kept: tuple[Path, ...]
    """Places that no granted folder may hold: the user's home folder, with its keys, and the peer's."""

    def confinement(self, read: Iterable[Path], write: Iterable[Path]) -> Confinement:
        """What a process may use that needs to ``read`` and ``write`` these."""
        grants = self.grants
        network = existing(FOR_NETWORK) if grants.network else ()
        return Confinement(
            read=tuple(dict.fromkeys([*existing(SYSTEM), *network, *self._of_python(), *grants.read, *read])),
            write=tuple(dict.fromkeys([*grants.write, *write])),
            memory=grants.memory or default_memory(machine_memory()),
            network=grants.network,
            devices=_gpus() if grants.gpu else (),
        )

    def _of_python(self) -> list[Path]:
        """What this Python has, and what is installed for it."""
        ours = [OUR_ROOT / name for name in OUR_PACKAGES]
        return [*ours, *(place for place in _python() if place.exists() and holds(place, self.kept) is None)]


def confiner(grants: Grants, home: Home, model: str | None = None) -> Confiner:
    """A confiner for the apps of the peer in ``home``, by the means that this machine has.

    A ``model`` (``module:Class``) that the owner named in the folder that we were started in is granted with it.

    Raises:
        PeerError: if it has none, or a granted folder holds what is to be kept from an app.
    """
    kept = tuple(place.resolve() for place in (home.path, Path.home()) if place != Path("/"))
    for folder in (*grants.read, *grants.write):
        if not folder.exists():
            raise PeerError(f"{folder} is not there", fix="name a folder that is", code=ExitCode.WRONG_USE)
        if (inside := holds(folder.resolve(), kept)) is not None:
            raise PeerError(
                f"{folder} is not granted to an app: {inside} is in it, with keys",
                fix="name the folder that the app needs alone",
                code=ExitCode.WRONG_USE,
            )
    return Confiner(required(), replace(grants, read=(*grants.read, *_of_model(model, kept))), kept)


def _of_model(model: str | None, kept: Sequence[Path]) -> tuple[Path, ...]:
    """The folder that a model's module is in, as other modules may be beside it; the module alone, if that folder is
    one that may not be granted."""
    if model is None:
        return ()
    here = Path.cwd()
    name = model.partition(":")[0].partition(".")[0]
    found = existing((here / f"{name}.py", here / name))
    return found if holds(here.resolve(), kept) is not None or not found else (here,)


def _python() -> list[Path]:
    prefixes = [sys.prefix, sys.base_prefix, sys.exec_prefix, sys.base_exec_prefix]
    # the first entry is where the script lies that was started, or where it was started: what is there is no package
    paths = sys.path if sys.flags.safe_path else sys.path[1:]
    installed = [entry for entry in paths if entry and Path(entry).resolve() not in (Path.cwd(), OUR_ROOT)]
    libraries = os.environ.get("LD_LIBRARY_PATH", "").split(os.pathsep)
    given = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    places = [Path(entry).absolute() for entry in (*prefixes, *installed, *libraries, *given) if entry]
    return list(dict.fromkeys([*places, *(place.resolve() for place in places)]))


def _gpus() -> tuple[Path, ...]:
    """The devices of graphics processors, and what tells of them."""
    devices = Path("/dev")
    found = [*devices.glob("nvidia*"), *existing((devices / "dri", devices / "kfd", devices / "dxg"))]
    return tuple(sorted(found))


def machine_memory() -> int:
    """The bytes of memory that this machine, or the container that we are in, has."""
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    try:
        return min(machine, int(Path("/sys/fs/cgroup/memory.max").read_text()))
    except (OSError, ValueError):  # there is no bound but the machine's
        return machine

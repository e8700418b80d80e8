"""By which means this machine can confine a process: tried, not assumed."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final, Protocol

from peer.base.errors import ExitCode, PeerError
from peer.confinement.bounds import bounds_of
from peer.confinement.bubblewrap import Bubblewrap
from peer.confinement.machine import existing, python_places
from peer.confinement.namespaces import Namespaces
from peer.confinement.rules import SYSTEM, Confinement

_RESTRICT: Final = Path(__file__).with_name("restrict.py")

_TRIAL_SECONDS: Final = 20.0
"""How long a machine has to run nothing, confined."""


class Means(Protocol):
    """One way to confine a process."""

    @property
    def name(self) -> str:
        """For people."""

    def why_absent(self) -> str:
        """Why it need not be tried here; empty if it may work."""

    def prefix(self, confinement: Confinement, temporary: Path, works_in: Path) -> list[str]:
        """The words that confine a command, for `words_before`."""


ALL: Final[tuple[Means, ...]] = (Bubblewrap(), Namespaces())
"""In the order in which they are chosen."""


@dataclass(frozen=True, slots=True)
class Tried:
    """What became of the means."""

    found: Means | None
    """The first that works."""
    failed: tuple[str, ...]
    """Why those before it do not."""


@cache
def tried() -> Tried:
    """Try the means, once a process."""
    failed: list[str] = []
    for means in ALL:
        why = works_not(means)
        if not why:
            return Tried(means, tuple(failed))
        failed.append(why)
    return Tried(None, tuple(failed))


def works_not(means: Means) -> str:
    """Why this means does not work here, found by running ``true`` by it; empty if it does."""
    if sys.platform != "linux":
        return f"{means.name} is for Linux"
    if why := means.why_absent():
        return why
    with tempfile.TemporaryDirectory(prefix="pollen-trial-") as folder:
        nothing = Confinement((*existing(SYSTEM), *python_places()), (), memory=1 << 30, disk=1 << 20)
        command = [*words_before(means, nothing, Path(folder), Path("/")), "true"]
        try:
            done = subprocess.run(command, capture_output=True, timeout=_TRIAL_SECONDS, check=False)
        except (OSError, subprocess.TimeoutExpired) as error:
            return f"{means.name} does not work: {error}"
    if done.returncode == 0:
        return ""
    said = done.stderr.decode(errors="replace").strip().splitlines() or [f"exit code {done.returncode}"]
    return f"{means.name} does not work: {said[-1]}"


def words_before(means: Means, confinement: Confinement, temporary: Path, works_in: Path) -> list[str]:
    """The words before a command that is to run confined, in ``works_in``; ``temporary`` is its ``/tmp``."""
    restricted = [sys.executable, "-I", "-S", str(_RESTRICT), bounds_of(confinement)]
    return [*means.prefix(confinement, temporary, works_in), *restricted]


def required() -> Means:
    """The means that this machine has.

    Raises:
        PeerError: if it has none.
    """
    found = tried()
    if found.found is None:
        raise PeerError(
            f"nothing on this machine can confine the app that is to run: {'; '.join(found.failed)}",
            fix=f"{INSTALL}; or, if you trust the app with all that you may do here: --unconfined",
            code=ExitCode.WRONG_USE,
        )
    return found.found


INSTALL: Final = (
    "install bubblewrap (Debian: apt install bubblewrap)"
    if sys.platform == "linux"
    else "do it on a Linux machine with bubblewrap"
)

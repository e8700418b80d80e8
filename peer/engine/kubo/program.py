"""Finding the ``ipfs`` program."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Final

from peer.engine.interface import EngineError

OLDEST: Final = (0, 40)
"""The oldest Kubo whose calls do what we ask."""

FLOOR: Final = (0, 43)
"""The oldest Kubo that we start. In older ones a peer with ever new topics makes a node with pubsub use up all memory
(CVE-2026-46679, https://github.com/ipfs/kubo/blob/v0.43.0/docs/changelogs/v0.43.md)."""

WHY_FLOOR: Final = "in such a node, any peer can make pubsub use up all memory (CVE-2026-46679)"

BUILT_VERSION: Final = "0.43.0"
"""The version that ``peer install-kubo`` installs. 0.43.1 cannot be built by ``go build``: its go.mod replaces a
module."""

INSTALL: Final = "peer install-kubo"

UPDATE: Final = f"update that node, and start it again: {INSTALL} prints where a newer program is"
"""The fix for an outdated node of the user's."""

WAYS_OUT: Final = f"{INSTALL}, or do without IPFS: --ipfs local:DIR"

_SHARED: Final = Path("/usr/local/lib/pollen/kubo")
"""Where ``peer install-kubo --all-users`` puts it."""


def find_ipfs() -> Path:
    """The ``ipfs`` program: the one that ``POLLEN_KUBO`` names. If that is not set, the first that is new enough, on
    the ``PATH`` or where ``peer install-kubo`` puts it.

    Raises:
        EngineError: if there is none that can be used.
    """
    named = os.environ.get("POLLEN_KUBO")
    if named:
        if not Path(named).is_file():
            raise EngineError(f"POLLEN_KUBO names {named}, which is no file", "unset POLLEN_KUBO, or correct it")
        try:
            return new_enough(Path(named))
        except EngineError as error:
            raise EngineError(str(error), f"unset POLLEN_KUBO, which names it, then {WAYS_OUT}") from error
    on_path = shutil.which("ipfs")
    failure = EngineError("there is no ipfs program: not on the PATH, nor in the cache", WAYS_OUT)
    for program in (Path(on_path) if on_path else None, cached_ipfs(), shared_ipfs()):
        if program is not None and program.is_file():
            try:
                return new_enough(program)
            except EngineError as error:
                failure = error
    raise failure


def is_named() -> bool:
    """Whether the owner said with ``POLLEN_KUBO`` which program it is."""
    return bool(os.environ.get("POLLEN_KUBO"))


def shared_ipfs() -> Path:
    """Where ``peer install-kubo --all-users`` puts the program."""
    return _SHARED / BUILT_VERSION / "ipfs"


def cached_ipfs() -> Path:
    """Where ``peer install-kubo`` puts the program: in the user's cache, or for all if this user has no home."""
    try:
        cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    except RuntimeError:  # neither HOME nor an entry in the list of users, as in some containers
        return shared_ipfs()
    return Path(cache) / "pollen" / "kubo" / BUILT_VERSION / "ipfs"


def version_of(program: Path) -> tuple[int, ...]:
    """The version that ``program`` says it has.

    Raises:
        EngineError: if it cannot be run, or says no version.
    """
    try:
        done = subprocess.run(
            [str(program), "version", "--number"], capture_output=True, text=True, timeout=30, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise EngineError(f"{program} cannot be run: {error}", WAYS_OUT) from error
    numbers = re.match(r"(\d+)\.(\d+)\.(\d+)", done.stdout.strip())
    if done.returncode or numbers is None:
        said = (done.stdout + done.stderr).strip()[:200]
        raise EngineError(f"{program} is not Kubo: asked for its version, it said {said!r}", WAYS_OUT)
    return tuple(map(int, numbers.groups()))


def new_enough(program: Path) -> Path:
    """The program, if it is a Kubo that may be started.

    Raises:
        EngineError: if it is none, or too old.
    """
    version = version_of(program)
    if version < FLOOR:
        found, floor = (".".join(map(str, numbers)) for numbers in (version, FLOOR))
        raise EngineError(f"{program} is Kubo {found}, older than {floor}; {WHY_FLOOR}", WAYS_OUT)
    return program


def numbers_of(version: str) -> tuple[int, ...]:
    """The numbers of a version, as a node says it.

    Raises:
        ValueError: if it has none.
    """
    return tuple(int(number) for number in version.split("-")[0].split("."))


def why_outdated(version: str) -> str:
    """What is wrong with a running node of this version; empty if nothing is."""
    if numbers_of(version) >= FLOOR:
        return ""
    return f"it is Kubo {version}, older than {'.'.join(map(str, FLOOR))}: {WHY_FLOOR}"

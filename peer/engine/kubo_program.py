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
"""The oldest Kubo whose calls and configuration are known to do what we ask."""

BUILT_VERSION: Final = "0.43.0"
"""The version that ``scripts/install-kubo`` installs."""

WAYS_OUT: Final = "./scripts/install-kubo, or do without IPFS: --ipfs local:DIR"


def find_ipfs() -> Path:
    """The one that ``POLLEN_KUBO`` names, else the first that is new enough: ``ipfs`` on the ``PATH``, or what
    ``scripts/install-kubo`` keeps in the user's cache.

    Raises:
        EngineError: where there is none that will do.
    """
    named = os.environ.get("POLLEN_KUBO")
    if named:
        if not Path(named).is_file():
            raise EngineError(f"POLLEN_KUBO names {named}, which is no file", "unset POLLEN_KUBO, or correct it")
        return _new_enough(Path(named))
    on_path = shutil.which("ipfs")
    failure = EngineError("there is no ipfs program: not on the PATH, nor in the cache", WAYS_OUT)
    for program in ([Path(on_path)] if on_path else []) + [path for path in (cached_ipfs(),) if path.is_file()]:
        try:
            return _new_enough(program)
        except EngineError as error:
            failure = error
    raise failure


def cached_ipfs() -> Path:
    """Where ``scripts/install-kubo`` puts the program."""
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "pollen" / "kubo" / BUILT_VERSION / "ipfs"


def version_of(program: Path) -> tuple[int, ...]:
    """The version that ``program`` says it has.

    Raises:
        EngineError: where it cannot be run or says no version.
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
        raise EngineError(f"{program} is no Kubo: asked for its version it said {said!r}", WAYS_OUT)
    return tuple(map(int, numbers.groups()))


def _new_enough(program: Path) -> Path:
    version = version_of(program)
    if version < OLDEST:
        found, oldest = (".".join(map(str, numbers)) for numbers in (version, OLDEST))
        raise EngineError(f"{program} is Kubo {found}, older than {oldest}", WAYS_OUT)
    return program

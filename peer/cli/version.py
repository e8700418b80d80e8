"""``peer --version``: the versions that somebody who reports a fault is asked for."""

from __future__ import annotations

from importlib import metadata
from typing import Final

from peer.cli.output import put_fields
from peer.engine.interface import EngineError
from peer.engine.kubo.program import find_ipfs, version_of

PACKAGE: Final = "pollen-fl"
"""As it is called where Python packages are installed."""


def put_versions() -> None:
    """Print one line each for Pollen, Flower and the Kubo that a managed node would run. Neither is imported or started
    (the ``ipfs`` program is asked for its version)."""
    put_fields([("pollen", _installed(PACKAGE)), ("flwr", _installed("flwr")), ("kubo", _kubo())])


def _installed(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"


def _kubo() -> str:
    try:
        program = find_ipfs()
        return f"{'.'.join(map(str, version_of(program)))} at {program}"
    except EngineError as error:
        return f"none: {error}"

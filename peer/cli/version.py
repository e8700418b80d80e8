"""``peer --version``: the versions that belong in a bug report."""

from __future__ import annotations

from peer.base.installed_versions import PACKAGE, installed
from peer.cli.output import put_fields
from peer.engine.interface import EngineError
from peer.engine.kubo.program import INSTALL, find_ipfs, version_of


def put_versions() -> None:
    """Print one line each for Pollen, Flower and the Kubo that a managed node would run. Neither is imported or started
    (the ``ipfs`` program is asked for its version)."""
    put_fields([("pollen", installed(PACKAGE)), ("flwr", installed("flwr")), ("kubo", _kubo())])


def _kubo() -> str:
    try:
        program = find_ipfs()
        return f"{'.'.join(map(str, version_of(program)))} at {program}"
    except EngineError as error:
        return f"none: {error}; {INSTALL} finds or installs one"

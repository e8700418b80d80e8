"""The saved inputs of each target: ``corpus/TARGET/``, a file each; what once broke it is ``crash-...``."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Final

FOLDER: Final = Path(__file__).parent / "corpus"


def saved(target: str) -> list[bytes]:
    """All inputs of a target, always in one order."""
    return [file.read_bytes() for file in sorted((FOLDER / target).iterdir())]


def save(target: str, name: str, data: bytes) -> Path:
    """Add an input."""
    file = FOLDER / target / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(data)
    return file


def save_crash(target: str, data: bytes) -> Path:
    """Keep what broke a target: it is tried first from then on."""
    return save(target, f"crash-{hashlib.sha256(data).hexdigest()[:16]}", data)

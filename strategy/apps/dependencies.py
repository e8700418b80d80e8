"""Compares an app's dependencies in its ``pyproject.toml`` with what is installed. Nothing is installed here."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement

from strategy.apps.config import AppError, read_app

MOST: int = 20
"""How many are named. (The author of the file may have listed any number.)"""


def lacking(app_dir: Path) -> tuple[str, ...]:
    """The app's dependencies that are missing or have another version, such as ``pandas>=2 (1.5 is installed)``."""
    try:
        needed = read_app(app_dir).dependencies
    except AppError:
        return ()  # running the app will report that
    return tuple(_lacking(needed))[:MOST]


def _lacking(needed: tuple[str, ...]) -> Iterator[str]:
    for text in needed:
        try:
            wanted = Requirement(text)
            if wanted.marker is not None and not wanted.marker.evaluate({"extra": ""}):
                continue
            version = metadata.version(wanted.name)
        except InvalidRequirement:
            continue
        except metadata.PackageNotFoundError:
            yield f"{text[:100]} (not installed)"
            continue
        if not wanted.specifier.contains(version, prereleases=True):
            yield f"{text[:100]} ({version} is installed)"

"""The versions of installed packages."""

from __future__ import annotations

from importlib import metadata
from typing import Final

PACKAGE: Final = "pollen-fl"
"""The name of Pollen's Python package."""


def installed(package: str) -> str:
    """The version of a package, or ``not installed``."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"

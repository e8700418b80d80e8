"""The versions of installed packages, our own among them."""

from __future__ import annotations

from importlib import metadata
from typing import Final

PACKAGE: Final = "pollen-fl"
"""Pollen, as it is called where Python packages are installed."""


def installed(package: str) -> str:
    """The version of a package, or that there is none."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"

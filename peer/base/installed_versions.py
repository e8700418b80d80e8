"""The versions of installed packages, and what is absent if Pollen was installed without an extra."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import metadata
from importlib.util import find_spec
from typing import Final

from peer.base.errors import ExitCode, PeerError

_ABSENT: Final = "not installed"

PACKAGE: Final = "pollen-fl"
"""The name of Pollen's Python package."""

OF_TORCH_EXTRA: Final = ("torch", "torchvision", "datasets", "flwr_datasets", "sklearn")
"""The modules that the built-in app trains with. They come with the extra ``torch``."""

INSTALL_TORCH: Final = f"pip install '{PACKAGE}[torch]'"


def installed(package: str) -> str:
    """The version of a package, or ``not installed``."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return _ABSENT


def unmet() -> Iterator[tuple[str, str]]:
    """What our own package requires (extras aside) and does not find: the requirement, and what is there instead."""
    from packaging.requirements import Requirement  # `peer --version` does without

    for text in metadata.requires(PACKAGE) or ():
        wanted = Requirement(text)
        if wanted.marker is not None and not wanted.marker.evaluate({"extra": ""}):
            continue
        found = installed(wanted.name)
        if found == _ABSENT or not wanted.specifier.contains(found, prereleases=True):
            yield f"{wanted.name}{wanted.specifier}", found


def absent_for_training() -> str:
    """The first module that the built-in app trains with and that is not installed; empty if all are. Imports none."""
    return next((module for module in OF_TORCH_EXTRA if find_spec(module) is None), "")


def require_torch_extra(what: str) -> None:
    """Check that everything is installed that ``what`` trains with, without importing it.

    Raises:
        PeerError: if something is absent.
    """
    if absent := absent_for_training():
        raise without_torch(what, absent)


def without_torch(what: str, module: str) -> PeerError:
    """The error that ``what`` cannot work, because a module of the extra is absent."""
    return PeerError(f"{what} needs {module}, which is not installed", fix=INSTALL_TORCH, code=ExitCode.UNFINISHED)

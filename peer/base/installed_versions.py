"""The versions of installed packages, and what is absent if Pollen was installed without an extra."""

from __future__ import annotations

from importlib import metadata
from importlib.util import find_spec
from typing import Final

from peer.base.errors import ExitCode, PeerError

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
        return "not installed"


def require_torch_extra(what: str) -> None:
    """Check that everything is installed that ``what`` trains with, without importing it.

    Raises:
        PeerError: if something is absent.
    """
    absent = [module for module in OF_TORCH_EXTRA if find_spec(module) is None]
    if absent:
        raise without_torch(what, absent[0])


def without_torch(what: str, module: str) -> PeerError:
    """The error that ``what`` cannot work, because a module of the extra is absent."""
    return PeerError(f"{what} needs {module}, which is not installed", fix=INSTALL_TORCH, code=ExitCode.UNFINISHED)

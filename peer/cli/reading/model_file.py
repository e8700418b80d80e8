"""Checks the file for a model before anything else is done."""

from __future__ import annotations

from pathlib import Path

from peer.base.errors import PeerError


def model_file(option: str, given: Path) -> Path:
    """The file that ``option`` names.

    Raises:
        PeerError: if a model cannot be written there.
    """
    from strategy.models.model_files import ModelFormat, NoModel, try_place

    path = given.expanduser().absolute()
    try:
        ModelFormat.of(path)
    except NoModel as error:
        raise PeerError(f"{option}: {error}", fix="name the file FILE.safetensors, FILE.npz or FILE.pt") from error
    if not path.parent.is_dir():
        raise PeerError(f"{option}: there is no folder {path.parent}", fix=f"mkdir -p {path.parent}")
    if path.exists() and not path.is_file():
        raise PeerError(f"{option}: {path} exists, but it is not a file", fix="name another file")
    try:
        try_place(path)
    except OSError as error:
        raise PeerError(
            f"{option}: {path} cannot be written: {error.strerror}",
            fix="name a file in a folder that you may write to, on a disk with space",
        ) from error
    return path

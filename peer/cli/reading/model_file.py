"""Where a command is to write a model: found good before anything else is done."""

from __future__ import annotations

from pathlib import Path

from peer.base.errors import ExitCode, PeerError


def model_file(option: str, given: Path) -> Path:
    """The file that ``option`` names, where a model can be written to it.

    Raises:
        PeerError: where its suffix is no format's, its folder is not there or not ours to write to, or it is no file.
    """
    from strategy.models.model_files import ModelFormat, NoModel, try_place

    path = given.expanduser().absolute()
    try:
        ModelFormat.of(path)
    except NoModel as error:
        raise _wrong(f"{option}: {error}", "name the file FILE.safetensors, FILE.npz or FILE.pt") from error
    if not path.parent.is_dir():
        raise _wrong(f"{option}: there is no folder {path.parent}", f"mkdir -p {path.parent}")
    if path.exists() and not path.is_file():
        raise _wrong(f"{option}: {path} is there, and is no file", "name another file")
    try:
        try_place(path)
    except OSError as error:
        raise _wrong(
            f"{option}: {path} cannot be written: {error.strerror}",
            "name a file in a folder that you may write to, on a disk with space",
        ) from error
    return path


def _wrong(message: str, fix: str) -> PeerError:
    return PeerError(message, fix=fix, code=ExitCode.WRONG_USE)

"""Where an app works on this machine, and where its data is."""

from __future__ import annotations

import os
from pathlib import Path

from peer.base.errors import PeerError
from peer.home.home import Home
from strategy.apps.builtin_app import default_data_folder


def working_folder(given: Path | None, confined_in: Home | None) -> Path:
    """Where a ClientApp works: the folder that we were started in, unless it is confined in a home."""
    if given is None and confined_in is not None:
        return confined_in.path / "work"
    folder = Path.cwd() if given is None else given.expanduser().absolute()
    if not folder.is_dir() or not os.access(folder, os.R_OK | os.X_OK):
        raise PeerError(
            f"the app cannot work in {folder}: it is not a folder that can be read",
            fix=f"mkdir -p {folder}, or name another with --work-dir DIR",
        )
    return folder


def data_folder(given: Path | None, app: Path | None, *, confined: bool) -> Path | None:
    """Where the dataset of the app in the folder ``app`` is; None if the app finds it by itself. The built-in app
    (None) would look in its own home, and a confined one would look in vain there."""
    if given is not None or app is not None or not confined:
        return given
    folder = default_data_folder()
    folder.mkdir(parents=True, exist_ok=True)
    return folder

"""An app in a folder of the owner's."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from peer.base.errors import PeerError
from protocol.blocks.bundle import write_bundle
from protocol.blocks.cid import CID, BlockError

if TYPE_CHECKING:  # it imports flwr
    from strategy.apps.bundling import AppFolder


def read_owned(folder: Path) -> tuple[CID, AppFolder]:
    """The id of the app in ``folder``, and the files that it is made from. Nothing of it is run.

    Raises:
        PeerError: if it is not a Flower app, or cannot be bundled.
    """
    from strategy.apps.bundling import read_folder
    from strategy.apps.config import AppError, read_app

    place = folder.expanduser().absolute()
    try:
        bundled = read_folder(place)
        read_app(place)
        app, _ = write_bundle(bundled.files)
    except (AppError, BlockError, OSError) as error:
        raise unusable_app(error) from error
    return app, bundled


def unusable_app(error: Exception) -> PeerError:
    """The error that a folder has no app that can be used."""
    return PeerError(
        f"the app cannot be used: {error}",
        fix="name a folder that has [tool.flwr.app] in its pyproject.toml with --app DIR, or make one: peer new DIR",
    )

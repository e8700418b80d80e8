"""The apps of a home, unpacked from their bundles: what runs is what the run record names."""

from __future__ import annotations

import shutil
import threading
from pathlib import Path

from peer.contents import EngineBlocks
from peer.engine.interface import Engine, EngineError
from peer.home import Home
from protocol.blocks import CID
from protocol.bundle import read_bundle
from strategy.bundle import unpack_bundle


class UnpackedApps:
    """Unpacks bundles into the home, once each. Safe to use from several threads, but for `to_run`."""

    def __init__(self, home: Home, engine: Engine) -> None:
        self._folder = home.path / "apps"
        self._running = home.path / "running"
        self._engine = engine
        self._unpacking = threading.Lock()

    def to_run(self, app: CID) -> Path:
        """A new copy of an app that is unpacked, in the place of the one before: an app may write beside its sources,
        and whoever starts it next must find it as its bundle has it."""
        copy = self._running / str(app)
        shutil.rmtree(self._running, ignore_errors=True)
        shutil.copytree(self._folder / str(app), copy)
        return copy

    def fetch(self, app: CID, *, timeout: float, limit: int) -> None:
        """Fetch a bundle whose files have at most ``limit`` bytes, where it is not unpacked, and unpack it.

        Raises:
            EngineError: where it does not come within ``timeout`` seconds, or is larger.
            ContentError: where it is no bundle.
            OSError: where its files cannot be written.
        """
        with self._unpacking:
            if (self._folder / str(app)).is_dir():
                return
            self._engine.fetch(app, timeout=timeout, limit=2 * limit)  # its list of files is not counted below
            size = sum(file.size for file in read_bundle(app, EngineBlocks(self._engine)))
            if size > limit:
                raise EngineError(f"the app {app} has {size} bytes, more than the {limit} that the federation allows")
            self._unpack(app)

    def unpack(self, app: CID) -> Path:
        """Unpack a bundle that the engine has, where that is not done yet; its folder.

        Raises:
            ContentError: where it is no bundle.
            OSError: where its files cannot be written.
        """
        with self._unpacking:
            return self._unpack(app)

    def _unpack(self, app: CID) -> Path:
        folder = self._folder / str(app)
        if not folder.is_dir():
            folder.parent.mkdir(parents=True, exist_ok=True)
            unpack_bundle(app, EngineBlocks(self._engine), folder)
        return folder

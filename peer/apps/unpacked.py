"""The apps of a home, unpacked from their bundles: what runs is what the run record names."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Sequence
from pathlib import Path

from peer.engine.contents import EngineBlocks
from peer.engine.interface import Engine
from peer.engine.sound_blocks import SoundBlocks
from peer.home.home import Home
from protocol.blocks.bundle import NamedBundle, read_bundle, read_named_bundle, write_bundle
from protocol.blocks.cid import CID, MemoryBlocks
from strategy.apps.bundling import check_self_contained, unpack_bundle


class UnpackedApps:
    """Unpacks apps into the home, once each. Safe to use from several threads, but for `to_run`."""

    def __init__(self, home: Home) -> None:
        self._folder = home.path / "apps"
        self._running = home.path / "running"
        self._unpacking = threading.Lock()

    def folder(self, app: CID) -> Path:
        """Where an app is, once it is unpacked. Nothing runs there."""
        return self._folder / str(app)

    def to_run(self, app: CID) -> Path:
        """A new copy of an app that is unpacked, in the place of the one before: an app may write beside its sources,
        and whoever starts it next must find it as its bundle has it."""
        copy = self._running / str(app)
        shutil.rmtree(self._running, ignore_errors=True)
        shutil.copytree(self.folder(app), copy)
        return copy

    def fetch(self, bundle: NamedBundle, engine: Engine, *, timeout: float, limit: int) -> None:
        """Fetch an app whose files have at most ``limit`` bytes, if it is not unpacked, and unpack it.

        Raises:
            EngineError: if it does not come within ``timeout`` seconds, or is larger.
            ContentError: if it is no bundle, of another app, or larger; or runs code that is not in it.
            OSError: if its files cannot be written.
        """
        folder = self.folder(bundle.app)
        with self._unpacking:
            if folder.is_dir():
                return
            engine.fetch(bundle.content, timeout=timeout, limit=2 * limit)  # its list of files does not count
            source = EngineBlocks(SoundBlocks(engine))
            files = read_named_bundle(bundle, source, limit)
            check_self_contained(files, source)
            unpack_bundle(files, source, folder)

    def take(self, files: Sequence[tuple[str, bytes]]) -> CID:
        """Unpack an app of the owner's, whose paths and bytes these are, if that is not done yet; its id.

        Raises:
            BundleError: if they are not what a bundle takes.
            OSError: if a file cannot be written.
        """
        app, blocks = write_bundle(files)
        with self._unpacking:
            if not self.folder(app).is_dir():
                source = MemoryBlocks({block.cid: block.data for block in blocks})
                unpack_bundle(read_bundle(app, source), source, self.folder(app))
        return app

"""The apps in a home, unpacked from their bundles, so that exactly the app in the run record runs."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Sequence
from pathlib import Path

from peer.confinement.folders import remove
from peer.engine.contents import EngineBlocks
from peer.engine.interface import Engine
from peer.engine.sound_blocks import SoundBlocks
from peer.home.home import Home
from protocol.blocks.bundle import NamedBundle, read_bundle, read_named_bundle, write_bundle
from protocol.blocks.cid import CID, MemoryBlocks
from strategy.apps.bundling import check_self_contained, unpack_bundle


class UnpackedApps:
    """Unpacks each app once. Safe to use from several threads, except `to_run`."""

    def __init__(self, home: Home, place: int = 1) -> None:
        """``place`` tells apart what runs side by side."""
        self._folder = home.path / "apps"
        self._running = home.path / "running" / str(place)
        self._unpacking = threading.Lock()

    def folder(self, app: CID) -> Path:
        """Where an unpacked app is. Nothing runs there."""
        return self._folder / str(app)

    def to_run(self, app: CID) -> Path:
        """A new copy of an unpacked app. It replaces the last copy, because an app may write beside its sources."""
        copy = self._running / str(app)
        remove(self._running)
        shutil.copytree(self.folder(app), copy)
        return copy

    def fetch(self, bundle: NamedBundle, engine: Engine, *, timeout: float, limit: int) -> None:
        """Fetch an app and unpack it, unless it is unpacked already. Its files have at most ``limit`` bytes.

        Raises:
            EngineError: if it does not come within ``timeout`` seconds, or is larger.
            ContentError: if it is no bundle, is another app's, is larger, or runs code that is not in it.
            OSError: if its files cannot be written.
        """
        folder = self.folder(bundle.app)
        with self._unpacking:
            if folder.is_dir():
                return
            sound = SoundBlocks(engine)
            sound.fetch(bundle.content, timeout=timeout, limit=2 * limit)  # room for the list of files, too
            source = EngineBlocks(sound)
            files = read_named_bundle(bundle, source, limit)
            check_self_contained(files, source)
            unpack_bundle(files, source, folder)

    def take(self, files: Sequence[tuple[str, bytes]]) -> CID:
        """Unpack the owner's app from its paths and bytes, unless that is done already. Returns its id.

        Raises:
            BundleError: if a bundle cannot hold these files.
            OSError: if a file cannot be written.
        """
        app, blocks = write_bundle(files)
        with self._unpacking:
            if not self.folder(app).is_dir():
                source = MemoryBlocks({block.cid: block.data for block in blocks})
                unpack_bundle(read_bundle(app, source), source, self.folder(app))
        return app

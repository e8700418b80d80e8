"""Looks at the engine and the disk from time to time, so that a status is told at once, even if the engine hangs."""

from __future__ import annotations

import contextlib
import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from peer.engine.interface import Engine, EngineError
from peer.status.peer_status import EngineHealth, Health

EVERY: Final = 10.0
"""Seconds between two looks."""

SHARE: Final = 20
"""A look that takes long is not repeated before so many times its length: adding up a directory of blocks is slow."""


class HealthWatch:
    """Knows how the engine was lately. Safe to use from several threads."""

    def __init__(self, engine: Engine, home: Path) -> None:
        self._engine = engine
        self._home = home
        self._over = threading.Event()
        self._since = time.time()
        self._first: int | None = None
        self._newest: Health | None = None

    @property
    def newest(self) -> Health | None:
        """The newest look; None before the first."""
        return self._newest

    @contextlib.contextmanager
    def watching(self) -> Iterator[None]:
        """Look until the context ends."""
        thread = threading.Thread(target=self._run, name="health", daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._over.set()  # a look that hangs ends with the process

    def look(self) -> Health:
        """Look once."""
        engine, trouble = None, ""
        try:
            status = self._engine.status()
            engine = EngineHealth(status.kind, status.version, status.peers, status.bytes_stored, status.bytes_sent)
            self._first = status.bytes_stored if self._first is None else self._first
        except EngineError as error:
            trouble = str(error)
        grown = 0 if engine is None or self._first is None else engine.bytes_stored - self._first
        free = shutil.disk_usage(self._home).free
        return Health(time.time(), engine, trouble, free, self._since, grown)

    def _run(self) -> None:
        wait = 0.0
        while not self._over.wait(wait):
            began = time.monotonic()
            with contextlib.suppress(OSError):  # the home was removed: the peer itself says so
                self._newest = self.look()
            wait = max(EVERY, SHARE * (time.monotonic() - began))

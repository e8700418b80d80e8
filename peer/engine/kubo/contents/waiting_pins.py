"""Pins of a managed node that are noted, and not set yet.

To set a pin, Kubo syncs four times, one after the other, while somebody waits for what is to be announced. A pin
matters only as something is deleted, and of a managed node nobody deletes but us. So a pin is noted in a file beside
the blocks, synced with them, and set before anything is deleted: `peer.engine.kubo.contents.node_pins` does that while
the node runs, `peer.engine.kubo.node` before it has the node collect what nobody pinned.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from peer.base import posix
from peer.base.durable_files import sync_folder
from peer.engine.disk_errors import translated
from protocol.blocks.cid import CID, MalformedCid

_AT_ONCE: Final = 100
"""How many pins are set by one call at most. While it lasts, nothing can be deleted."""

_DIRECT: Final = "direct"
_RECURSIVE: Final = "recursive"

_SET_ALREADY: Final = "already pinned recursively"
"""What a node says if a block is to be pinned alone that is pinned with all it links to."""


@dataclass(frozen=True, slots=True)
class WaitingPin:
    """One pin: of a block alone, or, if it is ``recursive``, of all that it links to as well."""

    cid: CID
    recursive: bool


class WaitingPins:
    """Marks in the node's ``repository``: an empty file for each pin that waits. Several processes may set them. Each
    method raises what `peer.engine.disk_errors.translated` says."""

    def __init__(self, repository: Path) -> None:
        self._folder = repository / "waiting-pins"
        self._lock = repository / "waiting-pins.lock"

    def prepare(self) -> None:
        """Have pins noted here from now on: the node is managed, and whoever has it delete something sets them
        first."""
        with translated(self._folder):
            self._folder.mkdir(exist_ok=True)
            sync_folder(self._folder.parent)

    @property
    def are_kept(self) -> bool:
        """Whether pins may be noted here."""
        return self._folder.is_dir()

    def mark(self, cids: Sequence[CID], *, recursive: bool) -> Sequence[Path]:
        """Note pins, inside `beside_others`. Returns the folders that are to be synced."""
        for cid in cids:
            self._place(WaitingPin(cid, recursive)).touch()
        return (self._folder,) if cids else ()

    def note(self, cids: Sequence[CID], *, recursive: bool) -> None:
        """Note pins, which are on disk at return. Inside `beside_others` or `alone`."""
        with translated(self._folder):
            for folder in self.mark(cids, recursive=recursive):
                sync_folder(folder)

    def forget(self, cids: Sequence[CID]) -> None:
        """Undo what was noted of blocks. Inside `alone`."""
        with translated(self._folder):
            for cid in cids:
                for recursive in (False, True):
                    self._place(WaitingPin(cid, recursive)).unlink(missing_ok=True)
            sync_folder(self._folder)

    def has(self, pin: WaitingPin) -> bool:
        """Whether a pin waits."""
        return self._place(pin).exists()

    def all(self) -> list[WaitingPin]:
        """Every pin that waits, those of blocks alone first."""
        with translated(self._folder):
            names = os.listdir(self._folder) if self.are_kept else []
        found: list[WaitingPin] = []
        for name in names:
            text, _, kind = name.rpartition(".")
            with contextlib.suppress(MalformedCid):  # no mark of ours
                found.append(WaitingPin(CID.parse(text), kind == _RECURSIVE))
        return sorted(found, key=lambda pin: pin.recursive)

    def changed(self) -> float:
        """When a pin was noted or set last: seconds since 1970."""
        with translated(self._folder):
            return self._folder.stat().st_mtime

    def settle(
        self, pins: Sequence[WaitingPin], add: Callable[[Sequence[CID], bool], str], is_here: Callable[[CID], bool]
    ) -> dict[WaitingPin, str]:
        """Have ``add`` set ``pins``, inside `beside_others`. It is told whether they are recursive, sets
        them all if it can, and returns why it could not. A pin whose block is not here is dropped: the block went in a
        power cut, before anybody was told of it.

        Returns those that could not be set, and why. They still wait."""
        failed: dict[WaitingPin, str] = {}
        done: list[WaitingPin] = []
        for some in _batches(pins):
            if not add([pin.cid for pin in some], some[0].recursive):
                done += some
                continue
            for pin in some:  # one that fails keeps others from being set
                why = add([pin.cid], pin.recursive)
                if not why or _SET_ALREADY in why or not is_here(pin.cid):
                    done.append(pin)
                else:
                    failed[pin] = why
        with translated(self._folder):
            for pin in done:
                self._place(pin).unlink(missing_ok=True)
            if done:
                sync_folder(self._folder)
        return failed

    def beside_others(self) -> contextlib.AbstractContextManager[None]:
        """Nothing is deleted inside."""
        return self._locked(posix.lock_shared)

    def alone(self) -> contextlib.AbstractContextManager[None]:
        """Nobody stores or pins anything inside."""
        return self._locked(posix.lock)

    @contextlib.contextmanager
    def _locked(self, take: Callable[[int], None]) -> Iterator[None]:
        with translated(self._lock):
            descriptor = os.open(self._lock, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            take(descriptor)
            yield
        finally:
            os.close(descriptor)

    def _place(self, pin: WaitingPin) -> Path:
        return self._folder / f"{pin.cid}.{_RECURSIVE if pin.recursive else _DIRECT}"


def _batches(pins: Sequence[WaitingPin]) -> Iterator[Sequence[WaitingPin]]:
    """``pins`` for one call each: of one kind, and not too many."""
    for recursive in (False, True):
        kind = [pin for pin in pins if pin.recursive == recursive]
        for start in range(0, len(kind), _AT_ONCE):
            yield kind[start : start + _AT_ONCE]

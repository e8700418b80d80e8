"""Which contents a managed node was getting as its peer ended. What came of them is pinned by nobody yet, and stays as
the node is started again."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Final

from protocol.blocks.cid import CID

SPARED: Final = 3
"""At how many starts in a row nothing is deleted. A member that lets a content never be whole keeps what nobody needs
on the disk for so long."""


class UnfinishedContents:
    """Marks in the node's repository: an empty file for each. Several processes may set them. Where marks cannot be
    written, contents are fetched all the same: at worst, blocks of them come twice."""

    def __init__(self, repository: Path) -> None:
        self._folder = repository / "unfinished"
        self._spared = repository / "unfinished-spared"

    def prepare(self) -> None:
        """Have marks set here from now on: the node is managed."""
        with suppress(OSError):
            self._folder.mkdir(exist_ok=True)

    def begin(self, root: CID) -> None:
        """Some of a content has come."""
        with suppress(OSError):
            (self._folder / str(root)).touch()

    def end(self, root: CID) -> None:
        """It is whole, or not wanted any more."""
        with suppress(OSError):
            (self._folder / str(root)).unlink(missing_ok=True)

    def spare(self) -> bool:
        """Whether nothing is to be deleted at this start. The marks are gone after that: a content that is still wanted
        gets a new one."""
        marks = list(self._folder.iterdir()) if self._folder.is_dir() else []
        before = self._spared.stat().st_size if self._spared.is_file() else 0
        spares = bool(marks) and before < SPARED
        try:
            self._spared.write_bytes(bytes(before + 1 if spares else 0))
        except OSError:
            return False  # a full disk: it is the deletion that makes room
        for mark in marks:
            mark.unlink(missing_ok=True)
        return spares

"""What becomes of blocks on a disk."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from pathlib import Path

from protocol.blocks.cid import CID

Damage = Callable[[Path], None]


def emptied(file: Path) -> None:
    file.write_bytes(b"")


def flipped(file: Path) -> None:
    """One bit."""
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(bytes(data))


def removed(file: Path) -> None:
    file.unlink()


EACH: list[Damage] = [emptied, flipped, removed]


def name_of(damage: Damage) -> str:
    """For a test's id."""
    return damage.__name__


def spoil(folder: Path, cids: Iterable[CID], damage: Damage) -> None:
    """Damage the files of an engine, whichever it is, that hold these blocks."""
    wanted = {cid.digest for cid in cids}
    named = ((hashlib.sha256(file.read_bytes()).digest(), file) for file in folder.rglob("*") if file.is_file())
    files = {digest: file for digest, file in named if digest in wanted}
    assert files.keys() == wanted
    for file in files.values():
        file.chmod(0o600)
        damage(file)

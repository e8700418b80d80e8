"""App bundles and folders: what of a Flower app's folder goes along with a run.

A bundle takes every file but those that no app is made of: hidden files and folders, ``__pycache__`` and compiled
Python, packaging leftovers, and at the top of the folder the names that Flower's own bundle leaves out too
(``build``, virtual environments). ``.gitignore`` is not asked, and data files are taken: they are part of what the
app does.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from protocol.blocks import CID, Block, BlockSource
from protocol.bundle import MAX_FILES, MAX_SIZE, BundledFile, BundleError, write_bundle

_NOT_AT_THE_TOP: Final = frozenset(
    {"build", "dist", "eggs", "lib", "lib64", "parts", "env", "venv", "ENV", "env.bak", "venv.bak", "node_modules"}
)
_NOT_ANYWHERE: Final = (".pyc", ".pyo", ".egg", ".egg-info")


def bundle_folder(app_dir: Path) -> tuple[CID, list[Block]]:
    """The plain bundle of an app's folder: its CID, which is the app's id, and its blocks. Raises as `read_folder`."""
    return write_bundle(read_folder(app_dir))


def read_folder(app_dir: Path) -> list[tuple[str, bytes]]:
    """The paths and bytes of what a bundle takes of an app's folder.

    Raises:
        BundleError: where the folder holds what a bundle does not take; the message names it.
        OSError: where a file cannot be read.
    """
    files: list[tuple[str, bytes]] = []
    size = 0
    for path in _files(app_dir, app_dir):
        size += path.stat().st_size
        if size > MAX_SIZE or len(files) == MAX_FILES:
            raise BundleError(
                f"{app_dir} is too large for a bundle ({MAX_SIZE >> 20} MiB, {MAX_FILES} files): "
                "move data and results out of the app's folder"
            )
        files.append((path.relative_to(app_dir).as_posix(), path.read_bytes()))
    return files


def unpack_bundle(files: Sequence[BundledFile], source: BlockSource, into: Path) -> None:
    """Write the files of a bundle to the folder ``into``, which appears whole, its files on disk, or not at all.

    Raises:
        ContentError: where a file is not what the bundle says.
        MissingBlock: where ``source`` lacks a block.
        OSError: where the files cannot be written, or ``into`` exists and is not empty.
    """
    part = into.with_name(f"{into.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    try:
        for file in files:
            path = part / file.path
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("wb") as written:
                written.write(file.read(source))
                written.flush()
                os.fsync(written.fileno())  # or a power cut leaves a folder that looks whole, of files that are not
        os.replace(part, into)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _files(folder: Path, top: Path) -> Iterator[Path]:
    for path in sorted(folder.iterdir()):
        if _is_left_out(path.name, at_top=folder == top):
            continue
        if path.is_symlink():
            raise BundleError(f"{path} is a symbolic link: a bundle takes files only; put a copy there or move it")
        if path.is_dir():
            yield from _files(path, top)
        elif path.is_file():
            yield path


def _is_left_out(name: str, *, at_top: bool) -> bool:
    return (
        name.startswith(".")
        or name == "__pycache__"
        or name.endswith(_NOT_ANYWHERE)
        or (at_top and name in _NOT_AT_THE_TOP)
    )

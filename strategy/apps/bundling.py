"""App bundles and folders: which files of a Flower app's folder travel with a run, and folders made from bundles.

A bundle takes what Flower's own (FAB) takes, so that data and secrets that Flower leaves at home stay at home here: by
``.gitignore``, ``fab-include`` and ``fab-exclude``, and only files with source or settings.
Besides, it takes no hidden file: none is part of an app, and some run code when somebody opens the folder.
"""

from __future__ import annotations

import os
import shutil
import stat
import unicodedata
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final

import tomli_w

from protocol.blocks.bundle import MAX_FILES, MAX_SIZE, BundledFile, BundleError, write_bundle
from protocol.blocks.cid import CID, Block, BlockSource
from strategy.apps.plain_app import PYPROJECT, is_plain, parsed_pyproject, plain_paths

_IGNORE_FILE: Final = ".gitignore"
_NO_PART_OF_AN_APP: Final = frozenset(
    {"__pycache__", "build", "dist", "eggs", "env", "venv", "ENV", "env.bak", "venv.bak", "node_modules"}
)
"""Folders in which nobody looks for an app's files."""
_LEFTOVERS: Final = (".pyc", ".pyo", ".fab", ".egg")
_UNREAD: Final = frozenset({"uv.lock", "poetry.lock"})


@dataclass(frozen=True, slots=True)
class AppFolder:
    """The files of an app's folder that travel, and those that stay."""

    files: tuple[tuple[str, bytes], ...]
    """Paths, in Unicode's composed form (NFC), and bytes."""
    missed: tuple[str, ...]
    """Paths that stay at home, and that the app might miss: data, models, tests."""


def bundle_folder(app_dir: Path) -> tuple[CID, list[Block]]:
    """The plain bundle of an app's folder: its CID, which is the app's id, and its blocks. Raises as `read_folder`."""
    return write_bundle(read_folder(app_dir).files)


def read_folder(app_dir: Path) -> AppFolder:
    """What a bundle takes from an app's folder.

    Raises:
        BundleError: if the folder holds what a bundle does not take, or is no app's.
        OSError: if a file cannot be read.
    """
    check_is_folder(app_dir)
    _check_ignore_file(app_dir / _IGNORE_FILE)
    try:
        fab = _fab_contents(app_dir)
    except ValueError as error:  # a TOML error is one
        raise BundleError(f"{app_dir} cannot be bundled: {error}") from error
    files = [(PYPROJECT, fab.pyproject)]
    size = len(fab.pyproject)
    for path, file in fab.taken.items():
        if _is_hidden(path):
            continue
        size += file.stat().st_size
        if size > MAX_SIZE or len(files) == MAX_FILES:
            raise BundleError(
                f"{app_dir} is too large for a bundle ({MAX_SIZE >> 20} MiB, {MAX_FILES} files): "
                "move data and results out of the app's folder, or name them in its .gitignore"
            )
        files.append((unicodedata.normalize("NFC", path), file.read_bytes()))
    return AppFolder(tuple(files), tuple(path for path in fab.left if _may_be_missed(path)))


@dataclass(frozen=True, slots=True)
class _FabContents:
    """What Flower's bundle (FAB) takes from an app's folder."""

    pyproject: bytes
    """As Flower writes it: without comments, and without the federations that this machine knows."""
    taken: Mapping[str, Path]
    """The other files, by their paths with ``/``, in order."""
    left: tuple[str, ...]
    """The paths of the files that stay at home."""


def _fab_contents(app_dir: Path) -> _FabContents:
    """What ``flwr build`` and ``flwr run`` take from a folder, without the zip file.

    Raises:
        ValueError: if Flower makes no bundle of the folder; the message says why.
        OSError: if a file cannot be read.
    """
    files = _files(app_dir.resolve())
    if PYPROJECT not in files:
        raise ValueError(f"there is no {PYPROJECT}, or its .gitignore names it")
    try:
        config = parsed_pyproject(files[PYPROJECT].read_text(encoding="utf-8"))
        config.get("tool", {}).get("flwr", {}).pop("federations", None)
        pyproject = tomli_w.dumps(config).encode()
    except RecursionError as error:
        raise ValueError(f"{PYPROJECT} is nested too deep") from error
    paths = plain_paths(files) if is_plain(config) else None
    if paths is None:
        from strategy.flower_compat import fab_paths  # imports flwr, which is slow

        paths = fab_paths(files, config)
    taken = {path: files[path] for path in sorted(paths)}
    return _FabContents(pyproject, taken, tuple(sorted(files.keys() - {PYPROJECT, *taken})))


def _files(root: Path) -> dict[str, Path]:
    """The regular files in a folder, by their paths in it with ``/``; no symbolic link is followed. As Flower's
    ``flwr.cli.utils.collect_files``."""
    paths = (Path(folder) / name for folder, _, names in os.walk(root) for name in names)
    return {path.relative_to(root).as_posix(): path for path in paths if stat.S_ISREG(path.lstat().st_mode)}


def check_is_folder(place: Path) -> None:
    """Check that ``place`` is a folder. If it is Flower's bundle (FAB), which `flwr run` takes, say how to unpack it.

    Raises:
        BundleError: if it is not a folder; it says what to do.
    """
    if place.is_dir():
        return
    if not place.exists():
        raise BundleError(f"there is no folder {place}")
    if not zipfile.is_zipfile(place):
        raise BundleError(f"{place} is a file, and an app is a folder")
    folder = place.with_name(f"{place.stem}-app")
    raise BundleError(
        f"{place} is a zip file, as `flwr build` writes one, and an app is given as its folder: "
        f"unpack it (python -m zipfile -e {place} {folder}), and name {folder}"
    )


def _check_ignore_file(path: Path) -> None:
    """Refuse a ``.gitignore`` that Flower would silently ignore: everything that it names would travel.

    Raises:
        BundleError: if there is something wrong with it.
    """
    if path.is_symlink():
        raise BundleError(f"{path} is a symbolic link, which nobody would follow: put the file itself there")
    if not path.exists():
        return
    data = path.read_bytes()
    try:
        data.decode()
    except UnicodeDecodeError as error:
        raise BundleError(f"{path} is not UTF-8, and would be passed over: write it in UTF-8") from error
    if data.startswith(b"\xef\xbb\xbf"):
        raise BundleError(f"{path} begins with a byte order mark, which would spoil its first line: write it without")


def _is_hidden(path: str) -> bool:
    return any(part.startswith(".") for part in path.split("/"))


def _may_be_missed(path: str) -> bool:
    place = PurePosixPath(path)
    return not (
        _is_hidden(path)
        or _NO_PART_OF_AN_APP & set(place.parts[:-1])
        or any(part.endswith(".egg-info") for part in place.parts)
        or place.suffix in _LEFTOVERS
        or place.name in _UNREAD
    )


def check_self_contained(files: Sequence[BundledFile], source: BlockSource) -> None:
    """Check that an app from the network runs its own files (`strategy.apps.config.check_components`).

    Raises:
        BundleError: if it does not.
        ContentError, MissingBlock: if its pyproject.toml cannot be read from ``source``.
    """
    from strategy.apps.config import AppError, check_components

    for file in files:
        if file.path.casefold() == "pyproject.toml":  # case makes no difference on some systems
            try:
                check_components(file.read(source), {each.path for each in files})
            except AppError as error:
                raise BundleError(f"the app does not run: {error}") from error


def unpack_bundle(files: Sequence[BundledFile], source: BlockSource, into: Path) -> None:
    """Write the files of a bundle to the folder ``into``. It appears complete, or not at all. It is on disk at return.

    Raises:
        ContentError: if a file is not what the bundle says.
        MissingBlock: if ``source`` lacks a block.
        OSError: if the files cannot be written, or ``into`` exists and is not empty.
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
                os.fsync(written.fileno())  # otherwise a power cut could leave a whole folder of incomplete files
        os.replace(part, into)
        _sync_folder(into.parent)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _sync_folder(folder: Path) -> None:
    """Put the names in ``folder`` on disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

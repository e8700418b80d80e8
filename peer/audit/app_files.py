"""The files of an app bundle, for an owner who reads them before letting them run. Nothing of them is executed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Final

from peer.audit.audit import Audit
from peer.audit.report import require_verified
from peer.base.errors import ExitCode, PeerError
from protocol.blocks.bundle import BundledFile, NamedBundle, read_named_bundle
from protocol.blocks.cid import CHUNK_SIZE, BlockSource
from protocol.blocks.content import ContentError, read_chunks

MAX_SHOWN: Final = CHUNK_SIZE
"""Bytes of files that are shown at once."""


@dataclass(frozen=True, slots=True)
class AppFile:
    """A file, as far as it is shown."""

    path: str
    size: int
    text: str | None
    """What does not decode as UTF-8 stands as ``\\xNN``; None for a binary file."""
    shown: int
    """Of its bytes; fewer than ``size`` where it is cut short."""


def recorded_bundle(audit: Audit) -> NamedBundle:
    """The bundle of the app that a run records. Runs ``audit``.

    Raises:
        PeerError: if the run is not verified, or is encrypted for others.
    """
    report = audit.run()
    require_verified(report)
    if (bundle := audit.bundle()) is None:
        raise PeerError(
            f"the run {report.run} is encrypted, and so is its app: this identity is not let in",
            fix="name a member's identity with --identity NAME; "
            "who came after the run needs a grant: peer federation grant NAME, on the server's machine",
            code=ExitCode.UNFINISHED,
        )
    return bundle


def bundled_files(bundle: NamedBundle, source: BlockSource) -> list[BundledFile]:
    """The list of an app's files; of that very app.

    Raises:
        PeerError: if it is no bundle, or of another app.
        protocol.blocks.cid.MissingBlock: if ``source`` lacks a block.
    """
    try:
        return read_named_bundle(bundle, source)
    except ContentError as error:
        raise PeerError(
            f"{bundle.content} is no app that can be read: {error}",
            fix="peer show CID tells what it is; an encrypted app is named by its run: peer app show RUN",
            code=ExitCode.WRONG_USE,
        ) from error


def chosen_file(files: list[BundledFile], path: str) -> BundledFile:
    """The file at ``path``.

    Raises:
        PeerError: if there is none.
    """
    for file in files:
        if file.path == path:
            return file
    raise PeerError(f"the app has no file {path}", fix="peer app show CID lists them", code=ExitCode.WRONG_USE)


def read_files(files: list[BundledFile], source: BlockSource) -> Iterator[AppFile]:
    """What is in files, one after the other, until `MAX_SHOWN` bytes are shown; of those after it nothing is read.

    Source files come first, so that data cannot push code out of sight.
    """
    left = MAX_SHOWN
    for file in sorted(files, key=_is_data):
        size = min(file.size, left)
        count, full = file.form.chunk_count(size), file.form.chunk_size
        data = read_chunks(file.chunks[:count], min(file.size, count * full), source, file.form)[:size]
        binary = b"\0" in data
        text = None if binary else data.decode("utf-8", "backslashreplace")
        left -= 0 if binary else size
        yield AppFile(file.path, file.size, text, 0 if binary else size)


def _is_data(file: BundledFile) -> bool:
    return PurePosixPath(file.path).suffix not in (".py", ".toml", ".cfg", ".md", ".txt", ".sh", ".yaml", ".yml")

"""The app that somebody names, and its files, for an owner who reads them before letting them run. Nothing of them is
executed."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Final

from peer.audit.audit import Audit
from peer.audit.lookup import Lookup
from peer.audit.report import require_verified
from peer.base.errors import ExitCode, PeerError
from peer.history.named import app_cid, is_car
from peer.history.scratch import Scratch
from peer.history.sources import EngineSource, RunSource
from peer.home.federations import FederationStore
from peer.home.home import Home
from peer.home.journal import Journal, known_apps
from protocol.blocks.bundle import BundledFile, NamedBundle, read_named_bundle
from protocol.blocks.cid import CHUNK_SIZE, CID, Block, BlockError, BlockSource, MissingBlock
from protocol.blocks.content import ContentError, read_chunks
from protocol.records.bodies import Chained
from protocol.records.signed import parse_record

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
    """Its bytes; fewer than ``size`` if it is cut short."""


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
            "a reader that came after the run needs a grant: peer federation grant NAME, on the server's machine",
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


@contextlib.contextmanager
def named_app(text: str, lookup: Lookup) -> Iterator[tuple[NamedBundle, RunSource]]:
    """The bundle of the app that is meant, and where it is read from."""
    run = _run_named(text, lookup.home)
    if run is None:
        app_id = app_cid(text)
        with lookup.blocks() as source:
            if not _is_of_a_run(app_id, source):
                yield NamedBundle(app_id, app_id, None), source
                return
    with Scratch() as scratch, lookup.reading(run or text, scratch) as audit:
        yield recorded_bundle(audit), audit.source


def _run_named(text: str, home: Home) -> str | None:
    """The file with a run that is meant; or the encrypted run that asked this home for the app that is meant."""
    if is_car(text):
        return text
    app_id = app_cid(text)
    run = next((known.run for known in known_apps(home) if known.app == app_id), None)
    if run is None:
        return None
    with contextlib.closing(Journal(home.journal)) as journal:
        head = journal.head_of(run)
    stored = None if head is None else FederationStore(home).get(head.federation)
    return str(run) if stored is not None and stored.manifest.encrypted else None


def _is_of_a_run(cid: CID, source: EngineSource) -> bool:
    """Whether that is a record of a run.

    Raises:
        PeerError: where there is no such block.
    """
    try:
        return isinstance(parse_record(Block(cid, source.get(cid))).body, Chained)
    except MissingBlock as error:
        raise PeerError(
            f"no app {cid} is to be found",
            fix="an app that is encrypted is named by its run: peer app show RUN",
            code=ExitCode.UNFINISHED,
        ) from error
    except BlockError:
        return False

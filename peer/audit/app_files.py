"""The files of an app, for an owner who reads them before the app may run here. Nothing in them is executed."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Final

from peer.audit.audit import Audit
from peer.audit.report import require_verified
from peer.audit.run_lookup import RunLookup
from peer.base.errors import ExitCode, PeerError
from peer.history.named_runs import app_cid, is_car, named_cid
from peer.history.run_sources import EngineSource, RunSource
from peer.history.scratch import Scratch
from peer.home.federations import FederationStore
from peer.home.home import Home
from peer.home.journal import Journal, known_apps
from protocol.blocks.bundle import BundledFile, NamedBundle, read_named_bundle
from protocol.blocks.cid import CHUNK_SIZE, CID, BlockError, BlockSource, MissingBlock
from protocol.blocks.content import ContentError, read_chunks
from protocol.records.bodies import Chained
from protocol.records.signed_records import read_record

MAX_SHOWN: Final = CHUNK_SIZE
"""How many bytes of files are shown at once."""


@dataclass(frozen=True, slots=True)
class AppFile:
    """A file of an app, as far as it is shown."""

    path: str
    size: int
    text: str | None
    """Bytes that are not UTF-8 stand as ``\\xNN``. None for a binary file."""
    shown: int
    """How many of its bytes: fewer than ``size`` if the file is cut short."""


def recorded_bundle(audit: Audit) -> NamedBundle:
    """The bundle of the app that a run records. Runs ``audit``.

    Raises:
        PeerError: if the run is not verified, or this reader cannot read it.
    """
    report = audit.run()
    require_verified(report)
    if (bundle := audit.bundle()) is None:
        raise PeerError(
            f"the run {report.run} and its app are encrypted, and this identity cannot read them",
            fix="name a member's identity with --identity NAME; "
            "a reader that joined after the run needs a grant: peer federation grant NAME, on the server's machine",
            code=ExitCode.UNFINISHED,
        )
    return bundle


def bundled_files(bundle: NamedBundle, source: BlockSource) -> list[BundledFile]:
    """The files of the app that ``bundle`` names.

    Raises:
        PeerError: if the content is not a bundle, or holds another app.
        protocol.blocks.cid.MissingBlock: if ``source`` lacks a block.
    """
    try:
        return read_named_bundle(bundle, source)
    except ContentError as error:
        raise PeerError(
            f"{bundle.content} is no app that can be read: {error}",
            fix="peer show CID tells what it is; if the app is encrypted, name its run: peer app show RUN",
        ) from error


def chosen_file(files: list[BundledFile], path: str) -> BundledFile:
    """The file at ``path``.

    Raises:
        PeerError: if there is none.
    """
    for file in files:
        if file.path == path:
            return file
    raise PeerError(f"the app has no file {path}", fix="peer app show CID lists them")


def read_files(files: list[BundledFile], source: BlockSource) -> Iterator[AppFile]:
    """Read one file after the other, until `MAX_SHOWN` bytes are shown.

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
def named_app(text: str, lookup: RunLookup) -> Iterator[tuple[NamedBundle, RunSource]]:
    """The bundle of the app that ``text`` names, and the source of its blocks."""
    run = _run_named(text, lookup.home)
    if run is None:
        app_id = app_cid(str(named_cid(lookup.home, text)))
        with lookup.blocks() as source:
            if not _is_of_a_run(app_id, source):
                yield NamedBundle(app_id, app_id, None), source
                return
    with Scratch() as scratch, lookup.reading(run or text, scratch) as audit:
        yield recorded_bundle(audit), audit.source


def _run_named(text: str, home: Home) -> str | None:
    """The run whose audit leads to the app: ``text`` if it is a CAR file, or an encrypted run that asked this home to
    run the app. None if the app can be read on its own."""
    if is_car(text):
        return text
    app_id = named_cid(home, text)
    run = next((known.run for known in known_apps(home) if known.app == app_id), None)
    if run is None:
        return None
    with Journal(home.journal) as journal:
        head = journal.head_of(run)
    stored = None if head is None else FederationStore(home).get(head.federation)
    return str(run) if stored is not None and stored.manifest.encrypted else None


def _is_of_a_run(cid: CID, source: EngineSource) -> bool:
    """Whether ``cid`` is a record in the chain of a run.

    Raises:
        PeerError: if there is no such block.
    """
    try:
        return isinstance(read_record(cid, source).body, Chained)
    except MissingBlock as error:
        raise PeerError(
            f"the app {cid} cannot be found",
            fix="if the app is encrypted, name its run: peer app show RUN",
            code=ExitCode.UNFINISHED,
        ) from error
    except BlockError:
        return False

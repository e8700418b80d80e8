"""Flower apps that are allowed here: bundled from their owner's folder, and unpacked in the home."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from peer.apps.app_folder import unusable_app
from peer.apps.unpacked_apps import UnpackedApps
from peer.base.errors import PeerError
from peer.engine.interface import Engine
from peer.home.home import Home
from protocol.blocks.bundle import NamedBundle, read_bundle, write_bundle
from protocol.blocks.cid import CID, BlockError, MemoryBlocks
from protocol.blocks.content import ContentForm, ContentKey
from protocol.records.bodies import Role
from protocol.roles.effects import Report, What
from strategy.apps.bundling import AppFolder, check_self_contained, read_folder
from strategy.apps.config import AppConfig, AppError, read_app

SHOWN_FILES: Final = 8
"""How many names of files a line shows."""


@dataclass(frozen=True, slots=True)
class App:
    """A Flower app that the owner allows here."""

    id: CID
    folder: Path
    """Where the owner has it."""
    config: AppConfig
    bundled: AppFolder = field(repr=False)
    """The files that go along with a run."""


def take_app(home: Home, folder: Path) -> App:
    """Bundle the app in ``folder``, and unpack it in the home.

    Raises:
        PeerError: if it is not a Flower app, or cannot be bundled.
    """
    apps = UnpackedApps(home)
    try:
        bundled = read_folder(folder)
        app = apps.take(bundled.files)
        return App(app, folder, read_app(apps.folder(app)), bundled)
    except (AppError, BlockError, OSError) as error:
        raise unusable_app(error) from error


def tell_what_goes_along(app: App, role: Role, on_report: Callable[[Report], None]) -> None:
    """Report which files of the owner's folder go along, and which stay here, although the app may need them."""
    files, missed = app.bundled.files, app.bundled.missed
    size = sum(len(data) for _, data in files)
    no_code = [path for path, _ in files if not path.endswith(".py") and path != "pyproject.toml"]
    others = f", {_some(no_code)} among them" if no_code else ""
    name = app.config.name
    whose = "all members of a run get them" if role is Role.SERVER else "it takes part if a server's are the same"
    counts = {"files": len(files), "bytes": size}
    on_report(Report(What.APP_BUNDLED, {"name": name, **counts, "others": others, "whose": whose}))
    if missed:
        on_report(Report(What.APP_FILES_STAY, {"count": len(missed), "some": _some(missed)}))


def _some(paths: Sequence[str]) -> str:
    return ", ".join(paths[:SHOWN_FILES]) + (", ..." if len(paths) > SHOWN_FILES else "")


def store_app(engine: Engine, app: App, key: ContentKey | None) -> NamedBundle:
    """Put the bundle of ``app`` into the engine, encrypted with ``key``. It is durable at return."""
    content, blocks = write_bundle(app.bundled.files, ContentForm(key))
    engine.put_content(content, blocks)
    return NamedBundle(app.id, content, key)


def kept_app(home: Home, app: CID) -> App:
    """An app that was taken before, from where it is unpacked in the home.

    Raises:
        PeerError: if it is not there, or its files are not those any more.
    """
    found = take_app(home, UnpackedApps(home).folder(app))
    if found.id != app:
        why = f"the files in {found.folder} are not those of the app {app} any more"
        raise PeerError(why, fix=f"rm -r {found.folder}, and give the job again")
    return found


def taken_files(home: Home, files: Sequence[tuple[str, bytes]]) -> App:
    """An app whose files somebody else sent, unpacked in the home. Nothing of it is run.

    Raises:
        PeerError: if it is no app, or not as Flower bundles one.
        BlockError: if it runs code that is not in it, or its paths lead out of its folder.
        OSError: if a file cannot be written.
    """
    app, blocks = write_bundle(files)
    source = MemoryBlocks({block.cid: block.data for block in blocks})
    check_self_contained(read_bundle(app, source), source)
    UnpackedApps(home).take(files)
    return kept_app(home, app)

"""``peer app``: read the app of a run, and decide whether it may run here."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from peer.audit.app_files import AppFile, bundled_files, chosen_file, named_app, read_files
from peer.base.errors import PeerError
from peer.base.terminal import put, put_foreign_line, say, show_labels
from peer.cli.options import DEFAULT_HOME, HomeOption, JsonOption, RunOptions, grouped, new_app
from peer.cli.output import Table, here, moment, put_json, put_list, put_result, size
from peer.history.named_runs import app_cid
from peer.history.run_sources import RunSource
from peer.home.home import Home
from peer.home.journal import Journal, KnownApp, approved_apps, known_apps
from protocol.blocks.bundle import BundledFile
from protocol.blocks.cid import CID
from protocol.visible import named

app = new_app("app", "Read the app of a run, and decide whether it may run here.")

AppArgument = Annotated[
    str, typer.Argument(metavar="CID|DIR", help="The app's id, as in peer app list, or a folder that has the app.")
]


@app.command("show")
@grouped
def show(
    cid: Annotated[
        str, typer.Argument(metavar="CID|RUN|FILE.car", help="The app, or its run, or a file with the run.")
    ],
    file: Annotated[str | None, typer.Option("--file", metavar="PATH", help="Print only this file.")] = None,
    into: Annotated[
        Path | None, typer.Option("--into", metavar="DIR", help="Write all files to this new folder instead.")
    ] = None,
    *,
    options: RunOptions,
    json: JsonOption = False,
) -> None:
    """List an app's files and print them, up to 1 MiB in all, without running anything.

    The app of an encrypted run is encrypted too. Members read it with their own keys.
    """
    show_labels(False)  # owners compare the ids of apps
    lookup = options.lookup()
    with named_app(cid, lookup) as (bundle, source):
        app_id = bundle.app
        files = bundled_files(bundle, source)
        if into is not None:
            _unpack(files, source, into)
        chosen = files if file is None else [chosen_file(files, file)]
        read = [] if into is not None else list(read_files(chosen, source))
    approved = app_id in approved_apps(lookup.home)
    if json:
        put_json({"app": str(app_id), "approved": approved, "files": list(_values(files, read))})
        return
    if file is None:
        _put_list(app_id, files, approved=approved)
    for each in read:
        _put_file(each)
    cut = [each for each in read if each.text is not None and each.shown < each.size]
    for each in cut:
        say(f"cut short: {each.path}: {each.shown} of {each.size} bytes were shown")
    if cut:
        say(f"to read everything: peer app show {cid} --into DIR")
    if into is not None:
        say(f"its files are in {into}")


@app.command("cid")
def cid(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A Flower app's folder.")], json: JsonOption = False
) -> None:
    """Print the id that the app in a folder has, and the files that it is made from.

    A run with this app has the same id, whoever's folder it is from.
    """
    from peer.apps.app_folder import read_owned

    app_id, bundled = read_owned(folder)
    if json:
        put_json(
            {
                "app": str(app_id),
                "files": [{"path": path, "size": len(data)} for path, data in bundled.files],
                "missed": list(bundled.missed),
            }
        )
        return
    put(str(app_id))
    for path, data in bundled.files:
        say(f"  {named(path)}  {size(len(data))}")
    for path in bundled.missed:
        say(f"stays here, although the app may need it: {named(path)}")


@app.command("approve")
def approve(cid: AppArgument, home: HomeOption = DEFAULT_HOME, json: JsonOption = False) -> None:
    """Allow an app to run here. A client that waits for it takes part at once."""
    approved = _named(cid)
    with Journal(Home(home).create().journal) as journal:
        was_named = any(known.app == approved and known.run for known in journal.apps())
        journal.approve_app(approved)
    put_result({"app": str(approved), "approved": True}, json, f"peers of this home may run the app {approved}")
    if not was_named and not json:
        say(here("nothing here waits for it; what is approved, and what waits: peer app list"))


@app.command("forget")
def forget(cid: AppArgument, home: HomeOption = DEFAULT_HOME, json: JsonOption = False) -> None:
    """Take an approval back. A run that has begun goes on until its client is stopped."""
    forgotten = _named(cid)
    if not any(known.app == forgotten for known in known_apps(Home(home))):
        raise PeerError(f"this home knows no app {forgotten}", fix="peer app list shows those it knows")
    with Journal(Home(home).journal) as journal:
        journal.forget_app(forgotten)
    put_result(
        {"app": str(forgotten), "approved": False},
        json,
        f"the app {forgotten} is not approved any more; a run that has begun goes on until its client is stopped",
    )


@app.command("list")
def list_apps(home: HomeOption = DEFAULT_HOME, json: JsonOption = False) -> None:
    """List the apps that are approved, and those that runs wait for."""
    known = known_apps(Home(home))
    table = Table("apps", ["app", "", "since", "name", "run"], [_known_row(each) for each in known])
    put_list([_known_value(each) for each in known], json, table, "no app is approved here, and no run waits for one")


def _named(text: str) -> CID:
    """The app that was named by its id, or by a folder that has it."""
    if not Path(text).is_dir():
        if "/" in text:
            raise PeerError(f"there is no folder {text}", fix="name an app's folder, or its CID: peer app list")
        return app_cid(text)
    from peer.apps.app_folder import read_owned

    return read_owned(Path(text))[0]


def _known_value(known: KnownApp) -> dict[str, Any]:
    return {
        "app": str(known.app),
        "approved": known.approved,
        "name": known.name,
        "run": str(known.run) if known.run else None,
        "since": known.noted,
    }


def _known_row(known: KnownApp) -> list[str]:
    state = "approved" if known.approved else "waits for approval"
    run = str(known.run) if known.run else ""
    return [str(known.app), state, moment(known.noted), named(known.name), run]


def _unpack(files: list[BundledFile], source: RunSource, into: Path) -> None:
    from strategy.apps.bundling import unpack_bundle

    into = into.expanduser().absolute()
    if into.exists():
        raise PeerError(f"{into} exists already", fix="name a new folder with --into DIR")
    unpack_bundle(files, source, into)


def _values(files: list[BundledFile], read: list[AppFile]) -> Iterator[dict[str, Any]]:
    texts = {each.path: each for each in read}
    for file in files:
        value: dict[str, Any] = {"path": file.path, "size": file.size}
        if (each := texts.get(file.path)) is not None:
            value |= {"text": each.text, "shown": each.shown}
        yield value


def _put_list(app_id: CID, files: list[BundledFile], *, approved: bool) -> None:
    state = "approved here" if approved else "not approved here"
    put(f"app {app_id}: {len(files)} files, {size(sum(file.size for file in files))}, {state}")
    for file in files:
        put(f"  {named(file.path)}  {size(file.size)}")


def _put_file(file: AppFile) -> None:
    put()
    put(f"==== {named(file.path)} ====")
    if file.text is None:
        put(f"(binary, {size(file.size)})")
        return
    for line in file.text.removesuffix("\n").split("\n"):
        # marked as foreign, so that no line of a file can look like the head of another file
        put_foreign_line(line.removesuffix("\r"))

"""``peer app``: read the app that a run needs, and say whether it may run here."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from peer.cli.audit import TimeoutOption
from peer.cli.cids import app_cid
from peer.cli.options import DEFAULT_HOME, EngineOption, HomeOption, JsonOption
from peer.cli.output import moment, put_json, put_table, size
from peer.engine_choice import borrowed
from peer.errors import ExitCode, PeerError
from peer.home import Home
from peer.inspect.app_files import AppFile, bundled_files, chosen_file, read_files
from peer.inspect.sources import EngineSource
from peer.journal import Journal, KnownApp, approved_apps, known_apps
from peer.visible import visible
from protocol.blocks import CID
from protocol.bundle import BundledFile

app = typer.Typer(
    name="app",
    help="Read the app that a run needs, and say whether it may run here.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

AppArgument = Annotated[str, typer.Argument(metavar="CID", help="The app's bundle, as a run record names it.")]


@app.command("show")
def show(
    cid: AppArgument,
    file: Annotated[str | None, typer.Option("--file", metavar="PATH", help="Print this file alone.")] = None,
    into: Annotated[
        Path | None, typer.Option("--into", metavar="DIR", help="Write all files to a new folder, to read them there.")
    ] = None,
    ipfs: EngineOption = None,
    timeout: TimeoutOption = 30.0,
    home: HomeOption = DEFAULT_HOME,
    json: JsonOption = False,
) -> None:
    """List an app's files and print them, at most 1 MiB at once. Nothing of it is run."""
    bundle = app_cid(cid)
    approved = bundle in approved_apps(Home(home))
    with borrowed(Home(home), ipfs) as engine:
        source = EngineSource(engine, timeout)
        files = bundled_files(bundle, source)
        if into is not None:
            _unpack(bundle, source, into)
        chosen = files if file is None else [chosen_file(files, file)]
        read = [] if into is not None else list(read_files(chosen, source))
    if json:
        put_json({"app": str(bundle), "approved": approved, "files": list(_values(files, read))})
        return
    if file is None:
        _put_list(bundle, files, approved=approved)
    for each in read:
        _put_file(each)
    cut = [each for each in read if each.text is not None and each.shown < each.size]
    for each in cut:
        typer.echo(f"cut short: {each.path}: {each.shown} of {each.size} bytes were shown", err=True)
    if cut:
        typer.echo(f"to read all of it: peer app show {bundle} --into DIR", err=True)
    if into is not None:
        typer.echo(f"its files are in {into}", err=True)


@app.command("approve")
def approve(cid: AppArgument, home: HomeOption = DEFAULT_HOME, json: JsonOption = False) -> None:
    """Let an app run here. A client that waits for it takes part at once."""
    bundle = app_cid(cid)
    with contextlib.closing(Journal(Home(home).create().journal)) as journal:
        journal.approve_app(bundle)
    if json:
        put_json({"app": str(bundle), "approved": True})
    else:
        typer.echo(f"clients of this home may run the app {bundle}")


@app.command("forget")
def forget(cid: AppArgument, home: HomeOption = DEFAULT_HOME, json: JsonOption = False) -> None:
    """Take an approval back. A run that has begun goes on with the app until its client is stopped."""
    bundle = app_cid(cid)
    if not any(known.bundle == bundle for known in known_apps(Home(home))):
        raise PeerError(
            f"this home knows no app {bundle}", mend="peer app list shows those it knows", code=ExitCode.WRONG_USE
        )
    with contextlib.closing(Journal(Home(home).journal)) as journal:
        journal.forget_app(bundle)
    if json:
        put_json({"app": str(bundle), "approved": False})
    else:
        typer.echo(f"the app {bundle} is not approved any more; a run that has begun goes on until its client stops")


@app.command("list")
def list_apps(home: HomeOption = DEFAULT_HOME, json: JsonOption = False) -> None:
    """List the apps that are approved, and those that runs wait for."""
    known = known_apps(Home(home))
    if json:
        put_json({"apps": [_known_value(each) for each in known]})
    elif known:
        header = ["app", "", "since", "name", "run"]
        put_table("apps", header, [_known_row(each) for each in known])
    else:
        typer.echo("no app is approved here, and none is waited for")


def _known_value(known: KnownApp) -> dict[str, Any]:
    return {
        "app": str(known.bundle),
        "approved": known.approved,
        "name": known.name,
        "run": str(known.run) if known.run else None,
        "since": known.noted,
    }


def _known_row(known: KnownApp) -> list[str]:
    state = "approved" if known.approved else "waits for approval"
    run = str(known.run) if known.run else ""
    return [str(known.bundle), state, moment(known.noted), visible(known.name), run]


def _unpack(bundle: CID, source: EngineSource, into: Path) -> None:
    from strategy.bundle import unpack_bundle

    into = into.expanduser().absolute()
    if into.exists():
        raise PeerError(f"{into} is there already", mend="name a new folder with --into DIR", code=ExitCode.WRONG_USE)
    unpack_bundle(bundle, source, into)


def _values(files: list[BundledFile], read: list[AppFile]) -> Iterator[dict[str, Any]]:
    texts = {each.path: each for each in read}
    for file in files:
        value: dict[str, Any] = {"path": file.path, "size": file.size}
        if (each := texts.get(file.path)) is not None:
            value |= {"text": each.text, "shown": each.shown}
        yield value


def _put_list(bundle: CID, files: list[BundledFile], *, approved: bool) -> None:
    state = "approved here" if approved else "not approved here"
    typer.echo(f"app {bundle}: {len(files)} files, {size(sum(file.size for file in files))}, {state}")
    for file in files:
        typer.echo(f"  {file.path}  {size(file.size)}")


def _put_file(file: AppFile) -> None:
    typer.echo(f"\n==== {file.path} ====")
    if file.text is None:
        typer.echo(f"(binary, {size(file.size)})")
        return
    for line in file.text.removesuffix("\n").split("\n"):
        # Prefixed, so that no file can pass its own lines off as the head of another.
        typer.echo(f"| {visible(line.removesuffix(chr(13)), keep=chr(9))}")

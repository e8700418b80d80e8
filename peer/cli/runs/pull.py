"""``peer pull``: the final model of a run, and the files that its app left, in a folder."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Annotated

import typer

from peer.audit.run_models import FoundModel, NoSuchModel, NotReadable, RunModels
from peer.base.errors import ExitCode, PeerError
from peer.base.terminal import put, say
from peer.cli.options import JsonOption, OneRunArgument, RunOptions, grouped, new_app
from peer.cli.output import put_json, size
from peer.history.left_files import Copied, copy_left_files
from peer.history.named_runs import run_here
from peer.history.scratch import Scratch
from peer.home.home import Home
from peer.home.journal import Journal
from protocol.run_names import SHOWN
from protocol.visible import named

app = new_app()


@app.command("pull")
@grouped
def pull(
    run: OneRunArgument,
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", metavar="DIR", help="A new folder.", show_default="the run's name, here"),
    ] = None,
    *,
    options: RunOptions,
    json: JsonOption = False,
) -> ExitCode:
    """Write the newest global model of a run, verified by its chain, and the files that its app left to a new folder.

    The model is `model.safetensors`. The files are in `files/`, if this home has led the run: what the ServerApp wrote
    into the folder in which it works. Links are left out.
    """
    home = Home(options.home)
    head = run_here(home, run)
    with Journal(home.journal) as journal:
        known = journal.known_runs().get(head.run)
    folder = output or Path(known.name if known else str(head.run)[:SHOWN])
    folder = folder.expanduser().absolute()
    if folder.exists():
        raise PeerError(f"{folder} exists already", fix="name a new folder with -o DIR")
    if not folder.parent.is_dir():
        raise PeerError(f"there is no folder {folder.parent}", fix=f"mkdir -p {folder.parent}")
    part = folder.with_name(f".{folder.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir()
    try:
        copied = copy_left_files(home, head.run, part / "files")
        model = _model(options, str(head.run), part / "model.safetensors")
        if isinstance(model, str) and not copied.files:
            raise PeerError(f"nothing was pulled: {model}", fix=f"see its rounds: peer history {run}")
        part.replace(folder)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    _put(folder, model, copied, json)
    return ExitCode.DONE


def _model(options: RunOptions, run: str, file: Path) -> FoundModel | str:
    """Write the model; or why there is none that can be written."""
    from strategy.models.model_files import NoModel, save_model

    lookup = options.lookup()
    with Scratch() as scratch, lookup.reading(run, scratch) as audit:
        try:
            found = RunModels(audit, scratch).newest()
            save_model(found.content, audit.source, found.key, file, found.metadata())
        except (NoSuchModel, NotReadable, NoModel) as error:
            return str(error)
    return found


def _put(folder: Path, model: FoundModel | str, copied: Copied, json: bool) -> None:
    if json:
        written = None if isinstance(model, str) else {**model.value(), "file": str(folder / "model.safetensors")}
        about = {"files": copied.files, "bytes": copied.bytes, "left_out": list(copied.left)}
        put_json({"folder": str(folder), "model": written, **about})
        return
    put(f"{folder} holds {copied.files} files that the app left ({size(copied.bytes)})")
    if isinstance(model, str):
        say(f"there is no model: {model}")
    else:
        put(f"model.safetensors: the global model of round {model.round}")
    if copied.left:
        say(f"left out, because they are no plain files: {', '.join(map(named, copied.left[:8]))}")

"""``peer model``: a model of a run as a file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from peer.audit.models import SERVER, RunModels
from peer.base.errors import ExitCode, PeerError
from peer.base.terminal import put
from peer.cli.options import HeadArgument, JsonOption, RunOptions, grouped, new_app
from peer.cli.output import put_json, size
from peer.cli.reading.model_file import model_file
from peer.history.scratch import Scratch
from protocol.visible import named

app = new_app()


@app.command("model")
@grouped
def model(
    head: HeadArgument,
    output: Annotated[
        Path,
        typer.Option("-o", "--output", metavar="FILE", help="Ends in .safetensors, .npz or .pt; replaced."),
    ],
    round: Annotated[
        int | None,
        typer.Option("--round", metavar="N", help="Which round; 0: before the first.", show_default="the last"),
    ] = None,
    of: Annotated[
        str, typer.Option("--of", metavar="server|NAME", help="The global model, or this client's update.")
    ] = SERVER,
    *,
    options: RunOptions,
    json: JsonOption = False,
) -> None:
    """Write the global model, or one client's update, of any round to a file, once the run's chain is verified.

    The global model of round N is what the server sent first after the training of round N was collected, or the final
    model where it sent nothing more. The file's metadata has the head, the run, the round and the content's CID.
    """
    from strategy.models.model_files import NoModel, save_model

    path = model_file("--output", output)
    with Scratch() as scratch, options.lookup().reading(head, scratch) as audit:
        found = RunModels(audit, scratch).find(of, round)
        try:
            count = save_model(found.content, audit.source, found.key, path, found.metadata())
        except NoModel as error:
            raise PeerError(
                f"no file was written: {error}",
                fix=f"peer show {found.content} shows what is in it; another format may take it",
                code=ExitCode.UNFINISHED,
            ) from error
    if json:
        about = {"file": str(path), "bytes": count, "content": str(found.content), **found.metadata()}
        put_json(about | {"round": found.round})
        return
    whose = "the global model" if found.of == SERVER else f"the update of {named(found.of)}"
    put(f"{path}: {whose} of round {found.round}, {size(count)}, content {found.content}")

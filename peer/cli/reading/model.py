"""``peer model``: write a model of a run to a file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from peer.audit.run_models import SERVER, RunModels
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
        typer.Option("-o", "--output", metavar="FILE", help="A .safetensors, .npz or .pt file. It is replaced."),
    ],
    round: Annotated[
        int | None,
        typer.Option("--round", metavar="N", help="The round; 0 is before the first.", show_default="the last"),
    ] = None,
    of: Annotated[
        str, typer.Option("--of", metavar="server|NAME", help="The global model, or this client's update.")
    ] = SERVER,
    *,
    options: RunOptions,
    json: JsonOption = False,
) -> None:
    """Write the global model or a client's update of any round to a file, after verifying the run's chain.

    The global model of round N is the first that the server sent after it had collected round N. If it sent no more, it
    is the final model. The file's metadata has the head, the run, the round and the content's CID.
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
                fix=f"try another format, or see what is in it: peer show {found.content}",
                code=ExitCode.UNFINISHED,
            ) from error
    if json:
        about = {"file": str(path), "bytes": count, "content": str(found.content), **found.metadata()}
        put_json(about | {"round": found.round})
        return
    whose = "the global model" if found.of == SERVER else f"the update of {named(found.of)}"
    put(f"{path}: {whose} of round {found.round}, {size(count)}, content {found.content}")

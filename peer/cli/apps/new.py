"""``peer new``: a small app to begin with."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from peer.base.errors import PeerError
from peer.base.terminal import put
from peer.cli.options import JsonOption, new_app
from peer.cli.output import put_json
from strategy.apps.new_app import Framework, write_new_app

app = new_app()


@app.command("new")
def new(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The new folder. Its name is the app's.")],
    framework: Annotated[
        Framework, typer.Option("--framework", metavar="numpy|torch", help="What the app computes with.")
    ] = Framework.NUMPY,
    json: JsonOption = False,
) -> None:
    """Write a small Flower app that runs at once, on data that it makes up."""
    into = folder.expanduser().absolute()
    try:
        name = write_new_app(into, framework)
    except ValueError as error:
        raise PeerError(str(error), fix="peer new my-app") from error
    except FileExistsError as error:
        raise PeerError(str(error), fix="name a new folder") from error
    if json:
        put_json({"folder": str(into), "package": name, "framework": framework.value})
        return
    put(f"the app is in {into}; its data and model are in {name}/data.py and {name}/model.py")
    put("next, in a federation, for each of 2 clients K = 0, 1 and then the server:")
    where = shlex.quote(str(folder))
    put(f'  peer start --role client --app {where} --node-config "partition-id=K num-partitions=2"')
    put(f"  peer start --role server --app {where}")

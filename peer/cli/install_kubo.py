"""``peer install-kubo``: find an ``ipfs`` program, or install one, and print its path."""

from __future__ import annotations

from typing import Annotated

import typer

from peer.base.terminal import put
from peer.cli.options import JsonOption, new_app
from peer.cli.output import put_json
from peer.engine.interface import EngineError
from peer.engine.kubo.install import install
from peer.engine.kubo.program import cached_ipfs, find_ipfs, is_named, shared_ipfs

app = new_app()


@app.command("install-kubo")
def install_kubo(
    all_users: Annotated[
        bool, typer.Option("--all-users", help="Install it for every user of this machine, a service's too.")
    ] = False,
    json: JsonOption = False,
) -> None:
    """Find Kubo on this machine, or install it in the user's cache, and print the program's path.

    Without a Kubo that is new enough, it is built with Go, or the official release is downloaded and checked.
    """
    target = shared_ipfs() if all_users else cached_ipfs()
    try:
        program = find_ipfs()
    except EngineError:
        if is_named():  # whoever named one does not want another
            raise
        install(target)
        program = target
    if all_users and program == cached_ipfs():  # what is in one user's cache is not for others
        install(target)
        program = target
    if json:
        put_json({"program": str(program)})
    else:
        put(str(program))

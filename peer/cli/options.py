"""The options that many commands share. Their names, defaults and meanings are the same everywhere."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final

import click
import typer

from peer.base import config, logs

DEFAULT_HOME: Final = Path("~/.pollen")


def _enter_home(ctx: typer.Context, home: Path) -> Path:
    """Eager: ``config.toml`` in the home is what the other options fall back to."""
    home = home.expanduser().absolute()
    ctx.default_map = config.read(home, ctx.find_root().command)
    return home


def _json_logs(asked: bool) -> bool:
    if asked:
        logs.write_json()
    return asked


class Whole(click.ParamType[str]):
    """A text that may be given several times; click would cut that of a variable at each space."""

    name = "text"

    def split_envvar_value(self, rv: str) -> list[str]:
        return [rv]


HomeOption = Annotated[
    Path,
    typer.Option("--home", metavar="DIR", is_eager=True, callback=_enter_home, help="The peer's home folder."),
]
JsonOption = Annotated[
    bool,
    typer.Option("--json", envvar="POLLEN_JSON", callback=_json_logs, help="Print one JSON object; logs go to stderr."),
]
PassphraseFileOption = Annotated[
    Path | None,
    typer.Option("--passphrase-file", metavar="FILE", help="Read the key's passphrase from this file's first line."),
]
NameArgument = Annotated[
    str | None,
    typer.Argument(metavar="[NAME]", help="Which one; not needed where there is only one.", show_default=False),
]
FederationOption = Annotated[
    str | None,
    typer.Option("--federation", metavar="NAME", help="Which federation, where this home is in more than one."),
]
IdentityOption = Annotated[
    str | None,
    typer.Option("--identity", metavar="NAME", help="Which identity, where this home has more than one."),
]
EngineOption = Annotated[
    str | None,
    typer.Option(
        "--ipfs",
        metavar="ENGINE",
        help="kubo (a node of this home's own), http://HOST:PORT or unix:SOCKET (your node), or local:DIR.",
        show_default="the one that this home used last, else kubo",
    ),
]
ListenOption = Annotated[
    str,
    typer.Option("--listen", metavar="IP", help="Where this home's own node listens for other members' nodes."),
]


def verbose_option() -> click.Option:
    """``-v``, which `peer.cli.main` gives to every command."""

    def show(_context: click.Context, _parameter: click.Parameter, asked: bool) -> None:
        if asked:
            logs.show_more()

    return click.Option(
        ["-v", "--verbose"],
        is_flag=True,
        is_eager=True,
        expose_value=False,
        callback=show,
        help="Show all logs, and tracebacks.",
    )

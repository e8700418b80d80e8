"""``peer service``: a peer that systemd runs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Annotated

import click
import typer

from peer.base.terminal import put, put_json_part
from peer.cli.options import DEFAULT_HOME, HomeOption, JsonOption, new_app
from peer.cli.output import put_json, put_result
from peer.service.installing import install, next_commands, place_of, remove, unit_of

app = new_app("service", "Have systemd run a peer: start it with the machine, restart it, keep its log.")


@app.command("install")
def install_service(
    arguments: Annotated[
        list[str] | None,
        typer.Argument(metavar="[-- COMMAND ...]", help="What peer does, with its options.", show_default="serve"),
    ] = None,
    system: Annotated[
        bool,
        typer.Option(
            "--system/--user", help="A unit of the system's, which runs as the home's owner; or one of your own."
        ),
    ] = False,
    name: Annotated[str, typer.Option("--name", metavar="NAME", help="What the unit is called.")] = "pollen",
    passphrase_file: Annotated[
        Path | None,
        typer.Option("--passphrase-file", metavar="FILE", help="systemd hands the key's passphrase from this file."),
    ] = None,
    only_print: Annotated[bool, typer.Option("--print", help="Print the unit file, and install nothing.")] = False,
    home: HomeOption = DEFAULT_HOME,
    json: JsonOption = False,
) -> None:
    """Write a unit file, and say which commands start it.

    The unit is restarted if it could not finish (exit code 3). Its log is in systemd's journal, which rotates it.
    """
    secret = None if passphrase_file is None else passphrase_file.expanduser().absolute()
    started = tuple(_from_anywhere(arguments or ["serve"]))
    unit = unit_of(home, started, name=name, system=system, passphrase=secret)
    if only_print:
        put_json_part(unit.text())
        return
    place = place_of(name, system=system)
    install(unit, place)
    commands = next_commands(name, system=system)
    if json:
        put_json({"unit": str(place), "next": list(commands)})
        return
    put(f"the unit is in {place}; next:")
    for command in commands:
        put(f"  {command}")


def _from_anywhere(arguments: Sequence[str]) -> Iterator[str]:
    """A command with its paths made absolute, because systemd starts it in another folder.

    Raises:
        click.UsageError: if it is no command, or has no such options.
    """
    from peer.cli.main import Commands

    root = click.Context(Commands(), info_name="peer")
    name, command, rest = Commands().resolve_command(root, list(arguments))
    assert command is not None  # otherwise it raises
    command.make_parser(click.Context(command, info_name=name, parent=root)).parse_args(list(rest))
    paths = {name for each in command.params if isinstance(each.type, click.Path) for name in each.opts}
    for before, word in pairwise(["", *arguments]):
        option, equals, value = word.partition("=")
        if before in paths:
            yield str(Path(word).expanduser().absolute())
        elif equals and option in paths:
            yield f"{option}={Path(value).expanduser().absolute()}"
        else:
            yield word


@app.command("remove")
def remove_service(
    system: Annotated[bool, typer.Option("--system/--user", help="The system's unit, or one of your own.")] = False,
    name: Annotated[str, typer.Option("--name", metavar="NAME", help="What the unit is called.")] = "pollen",
    json: JsonOption = False,
) -> None:
    """Delete a unit file. Stop the peer first: systemctl disable --now NAME. Its home stays."""
    place = place_of(name, system=system)
    remove(place)
    put_result({"removed": str(place)}, json, f"{place} is deleted; its peer's home is as it was")

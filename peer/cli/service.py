"""``peer service``: a peer that systemd runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

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
    unit = unit_of(home, tuple(arguments or ("serve",)), name=name, system=system, passphrase=secret)
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

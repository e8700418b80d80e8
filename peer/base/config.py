"""Where an option's value comes from: flag, then ``POLLEN_<OPTION>``, then ``config.toml`` in the home, then default.

The mechanism is click's: `wire` gives each command the prefix of its variables, and `read` gives click its default map.
``config.toml`` is flat, with the long names of options, such as ``min-clients = 3``. An option means the same in all
commands.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import click

from peer.base.errors import PeerError

VARIABLE_PREFIX: Final = "POLLEN"
FILE_NAME: Final = "config.toml"
_NOT_IN_FILE: Final = frozenset({"home", "help"})


def wire(command: click.Command) -> None:
    """Let all options of ``command`` and its subcommands be given as ``POLLEN_`` variables."""
    for leaf in leaves(command):
        leaf.context_settings["auto_envvar_prefix"] = VARIABLE_PREFIX


def leaves(command: click.Command) -> Iterator[click.Command]:
    """The commands in ``command`` that have no subcommands."""
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            child = command.get_command(context, name)
            if child is not None:
                yield from leaves(child)
    else:
        yield command


def read(home: Path, root: click.Command) -> dict[str, Any]:  # TOML values; click types them as it does flags
    """The values in the home's ``config.toml``, by parameter name. Empty if there is no such file.

    Raises:
        PeerError: if the file cannot be read, or a key is not an option of a command of ``root``.
    """
    file = home / FILE_NAME
    try:
        values = tomllib.loads(file.read_text("utf-8"))
    except FileNotFoundError:
        return {}
    except NotADirectoryError as error:
        raise PeerError(
            f"{home} cannot be a home: it, or what it is in, is a file", fix="name a folder: --home DIR"
        ) from error
    except (OSError, ValueError) as error:
        raise PeerError(f"{file} cannot be read: {error}", fix=f"fix {file}") from error
    known = _options(root)
    unknown = sorted(values.keys() - known.keys())
    if unknown:
        raise PeerError(
            f"{file} has keys that are not options: {', '.join(unknown)}",
            fix=f"take them out of {file}; the options are in `peer COMMAND --help`",
        )
    return {known[name].name or name: _typed(known[name], value) for name, value in values.items()}


def _typed(option: click.Option, value: Any) -> Any:
    """A single text is a list of one, if the option may be given several times."""
    return [value] if option.multiple and isinstance(value, str) else value


def _options(root: click.Command) -> dict[str, click.Option]:
    """All options by their long names without dashes."""
    names: dict[str, click.Option] = {}
    for command in leaves(root):
        for parameter in command.params:
            if isinstance(parameter, click.Option) and parameter.name is not None:
                longs = [text.removeprefix("--") for text in parameter.opts if text.startswith("--")]
                names.update(dict.fromkeys(longs, parameter))
    return {name: option for name, option in names.items() if name not in _NOT_IN_FILE}

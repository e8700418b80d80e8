"""Where an option's value comes from: flag, then ``POLLEN_<OPTION>``, then ``config.toml`` in the home, then default.

There is one mechanism and it is click's: `wire` gives every command the variables' prefix, and `read` what click calls
its default map. ``config.toml`` is flat: the long names of options without their dashes, such as ``min-clients = 3``.
An option of one name means the same in all commands.
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
    """Let every option of ``command``, and of the commands in it, be given as a ``POLLEN_`` variable."""
    for leaf in leaves(command):
        leaf.context_settings["auto_envvar_prefix"] = VARIABLE_PREFIX


def leaves(command: click.Command) -> Iterator[click.Command]:
    """The commands in ``command`` that do something themselves."""
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            child = command.get_command(context, name)
            if child is not None:
                yield from leaves(child)
    else:
        yield command


def read(home: Path, root: click.Command) -> dict[str, Any]:  # TOML values; click types them as it does flags
    """The values in the home's ``config.toml`` by parameter name, none if there is no such file.

    Raises:
        PeerError: if it cannot be read, or has keys that no command of ``root`` has as an option.
    """
    file = home / FILE_NAME
    try:
        values = tomllib.loads(file.read_text("utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise PeerError(f"{file} cannot be read: {error}", fix=f"fix {file}") from error
    known = _options(root)
    unknown = sorted(values.keys() - known.keys())
    if unknown:
        raise PeerError(
            f"{file} has keys that are no options: {', '.join(unknown)}",
            fix=f"take them out of {file}; `peer COMMAND --help` shows the options there are",
        )
    return {known[name].name or name: _typed(known[name], value) for name, value in values.items()}


def _typed(option: click.Option, value: Any) -> Any:
    """One text for what may be given several times is given once."""
    return [value] if option.multiple and isinstance(value, str) else value


def _options(root: click.Command) -> dict[str, click.Option]:
    """Each option by its long name without dashes."""
    names: dict[str, click.Option] = {}
    for command in leaves(root):
        for parameter in command.params:
            if isinstance(parameter, click.Option) and parameter.name is not None:
                longs = [text.removeprefix("--") for text in parameter.opts if text.startswith("--")]
                names.update(dict.fromkeys(longs, parameter))
    return {name: option for name, option in names.items() if name not in _NOT_IN_FILE}

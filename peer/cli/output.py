"""How commands show results: as one JSON object, or as lines for people. `peer.base.terminal` prints them."""

from __future__ import annotations

import json
import math
import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import click

from peer.base.errors import ExitCode
from peer.base.terminal import Colour, Coloured, Text, is_terminal, put, put_json_part, put_table

_UNITS: Final = ("B", "kB", "MB", "GB", "TB")


VERSIONS: Final[Mapping[str, int]] = {}
"""The version of a command's ``--json``, by its words joined with hyphens; 1 if it is not here. It grows if a field
changes its meaning or goes. New fields may come at any time (docs/json.md)."""

ERROR: Final = "pollen/error/1"


def put_json(value: Mapping[str, object]) -> None:
    """Print the object of ``--json``. Bytes are written in hex, CIDs as text. It names its schema first."""
    put_json_part(json.dumps(_named(value), default=_plain, indent=2 if is_terminal() else None) + "\n")


def put_json_line(value: Mapping[str, object]) -> None:
    """Print one object of a ``--json`` that has one a line."""
    put_json_part(json.dumps(_named(value), default=_plain) + "\n")


_home = ""


def name_home(given: str) -> None:
    """Note that the command line names its home so, with ``--home``; empty: it names none."""
    global _home  # a process runs one command
    _home = given


_WITHOUT_HOME: Final = "new", "demo", "install-kubo", "completion"
_COMMAND: Final = re.compile(rf"\bpeer (?!(?:{'|'.join(_WITHOUT_HOME)})\b)[a-z]")


def here(text: str) -> str:
    """What a person is to type next, and how that names the home that this command was given: without it, it would mean
    another."""
    if not _home or "--home" in text or text.endswith("--help") or not _COMMAND.search(text):
        return text
    return f"{text} (in this home: with --home {shlex.quote(_home)})"


def put_error(message: str, fix: str, code: ExitCode) -> None:
    """Print the object of ``--json`` of a command that could not do what it was asked."""
    put_json_line({"schema": ERROR, "error": message, "fix": fix, "code": int(code)})


def schema_name() -> str:
    """The schema of what the command that runs now prints with ``--json``; ``peer`` if none runs."""
    context = click.get_current_context(silent=True)
    words = ["peer"] if context is None else context.command_path.split()[1:]
    name = "-".join(words)
    return f"pollen/{name}/{VERSIONS.get(name, 1)}"


def _named(value: Mapping[str, object]) -> Mapping[str, object]:
    return value if "schema" in value else {"schema": schema_name(), **value}


def put_result(value: Mapping[str, object], as_json: bool, *lines: str) -> None:
    """Print the result of a command: ``value`` with ``--json``, otherwise the lines for people."""
    if as_json:
        put_json(value)
        return
    for line in lines:
        put(line)


@dataclass(frozen=True, slots=True)
class Table:
    """A list, for people."""

    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]


def put_list(values: Sequence[Mapping[str, object]], as_json: bool, table: Table, none: str) -> None:
    """Print a list: ``values`` under the table's title with ``--json``, otherwise the table. If it is empty, print the
    line ``none``."""
    if as_json:
        put_json({table.title: values})
    elif table.rows:
        put_table(table.title, table.header, table.rows)
    else:
        put(none)


def put_fields(fields: Iterable[tuple[str, Text]]) -> None:
    """Print ``name  value`` lines."""
    pairs = list(fields)
    width = max((len(name) for name, _ in pairs), default=0)
    for name, value in pairs:
        put(f"{name.ljust(width)}  ", value)


def good(text: str) -> Coloured:
    """Green on a terminal."""
    return Coloured(text, Colour.GREEN)


def bad(text: str) -> Coloured:
    """Red on a terminal."""
    return Coloured(text, Colour.RED)


def doubtful(text: str) -> Coloured:
    """Yellow on a terminal."""
    return Coloured(text, Colour.YELLOW)


def counted(count: int, one: str) -> str:
    """``1 message``, ``2 messages``."""
    return f"{count} {one}" if count == 1 else f"{count} {one}s"


def size(count: int) -> str:
    """Bytes as people read them: ``1.5 MB``."""
    number = float(count)
    for unit in _UNITS[:-1]:
        if number < 999.5:
            return f"{number:.3g} {unit}"
        number /= 1000
    return f"{number:.3g} {_UNITS[-1]}"


def moment(seconds: float) -> str:
    """Seconds since 1970 as local time."""
    import datetime

    try:
        return datetime.datetime.fromtimestamp(seconds).astimezone().isoformat(" ", "seconds")
    except (ValueError, OverflowError, OSError):  # the author of a record may write any number
        return f"{seconds!r} (no date)"


def clock_time(seconds: float) -> str:
    """Seconds since 1970 as the local time of a day near today."""
    import datetime

    try:
        then = datetime.datetime.fromtimestamp(seconds)
    except (ValueError, OverflowError, OSError):  # as for `moment`
        return f"{seconds!r}"
    near = abs(seconds - datetime.datetime.now().timestamp()) < _NEAR
    return f"{then:%H:%M:%S}" if near else f"{then:%Y-%m-%d %H:%M}"


_NEAR: Final = 12 * 3600
"""Seconds within which a time of day needs no date."""


def duration(seconds: float) -> str:
    """A time as people read it: ``4 s``, ``3 min``, ``2 h 5 min``, ``12 d``."""
    whole = max(0, round(seconds)) if math.isfinite(seconds) else 0
    if whole < 120:
        return f"{whole} s"
    if whole < 2 * 3600:
        return f"{whole // 60} min"
    if whole < 2 * 86_400:
        return f"{whole // 3600} h {whole % 3600 // 60} min"
    return f"{whole // 86_400} d"


def _plain(value: object) -> str:
    return value.hex() if isinstance(value, bytes) else str(value)

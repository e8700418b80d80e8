"""How commands print: one JSON object, or lines for people; colour and boxes on a terminal alone."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Sequence
from typing import Final

import typer

_UNITS: Final = ("B", "kB", "MB", "GB", "TB")


def put_json(value: object) -> None:
    """Print the one object of ``--json``. Bytes are hex, CIDs text."""
    typer.echo(json.dumps(value, default=_plain, indent=2 if sys.stdout.isatty() else None))


def put_table(title: str, header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a table; off a terminal, plain columns."""
    if sys.stdout.isatty():
        _put_rich(title, header, rows)
        return
    lines = [list(header), *map(list, rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(header))]
    for line in lines:
        typer.echo("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def _put_rich(title: str, header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(title=title, title_justify="left")
    for name in header:
        table.add_column(name, overflow="fold")
    for row in rows:
        table.add_row(*map(Text, row))  # as Text: names and reasons are other people's, and may look like markup
    Console().print(table)


def put_fields(fields: Iterable[tuple[str, str]]) -> None:
    """Print ``name  value`` lines."""
    pairs = list(fields)
    width = max((len(name) for name, _ in pairs), default=0)
    for name, value in pairs:
        typer.echo(f"{name.ljust(width)}  {value}")


def good(text: str) -> str:
    """Green on a terminal."""
    return _coloured(text, typer.colors.GREEN)


def bad(text: str) -> str:
    """Red on a terminal."""
    return _coloured(text, typer.colors.RED)


def doubtful(text: str) -> str:
    """Yellow on a terminal."""
    return _coloured(text, typer.colors.YELLOW)


def _coloured(text: str, colour: str) -> str:
    """Plain off a terminal, and where NO_COLOR is set (no-color.org); rich heeds it by itself."""
    return typer.style(text, fg=colour) if sys.stdout.isatty() and not os.environ.get("NO_COLOR") else text


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
    except (
        ValueError,
        OverflowError,
        OSError,
    ):  # a record's time is informative, and whatever its author wrote
        return f"{seconds!r} (no date)"


def _plain(value: object) -> str:
    return value.hex() if isinstance(value, bytes) else str(value)

"""The one place where anything is printed. Every line goes through `visible` here, so no caller can forget it.

A call prints one line, whatever is in it: names, reasons, settings and errors of other people can neither move the
cursor nor recolour the screen, nor begin a line of their own. Colours are given as `Coloured`, never as text.
``tests/peer/base/test_terminal.py`` checks that nothing else in the packages writes to standard output or error.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import shutil
import sys
import threading
import traceback
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self, TextIO

import typer

from protocol.visible import visible

if TYPE_CHECKING:
    from rich.table import Table

_GOES_ON: Final = "    "
"""What begins the next line of a quotation that is wider than the terminal."""
_BEHIND: Final = "| "
"""What begins each line of a text that has lines of its own: a file, a traceback."""


class Colour(Enum):
    """What a terminal shows text in."""

    RED = typer.colors.RED
    GREEN = typer.colors.GREEN
    YELLOW = typer.colors.YELLOW


@dataclass(frozen=True, slots=True)
class Coloured:
    """Text in a colour, on a terminal. It is given to `put` or `say` by itself: within other text it would be its own
    ``repr``."""

    text: str
    colour: Colour

    def __str__(self) -> str:
        """Raises:
        TypeError: always.
        """
        raise TypeError(f"{self!r} is no part of a text: give it to put or say by itself")


Text = str | Coloured


def put(*parts: Text) -> None:
    """Print one line of the result, on standard output."""
    _print(parts, sys.stdout)


def say(*parts: Text) -> None:
    """Tell a person one line, on standard error."""
    _print(parts, sys.stderr)


def put_foreign_line(text: str) -> None:
    """Print a line of somebody else's file behind a bar, its tabs as they are."""
    typer.echo(_writable(_BEHIND + visible(text, keep="\t"), sys.stdout), file=sys.stdout)


def say_lines(text: str, colour: Colour | None = None) -> None:
    """Tell a text that has several lines: all but its first behind a bar, so that none passes for a line of ours.
    ``colour`` is of the first."""
    first, *rest = text.splitlines() or [""]
    say(first if colour is None else Coloured(first, colour))
    for line in rest:
        say(_BEHIND, line)


def say_traceback(error: BaseException) -> None:
    """Tell where an error came from, each line behind a bar."""
    _say_traceback(type(error), error, error.__traceback__)


def put_json_part(part: str) -> None:
    """Print a part of a JSON text; its line breaks are the only controls that it can have."""
    typer.echo(_writable(visible(part, keep="\n"), sys.stdout), file=sys.stdout, nl=False)


def put_code(text: str) -> None:
    """Show ``text`` as a QR code, on a terminal."""
    if is_terminal():
        import segno

        segno.make(text, error="l", micro=False).terminal(compact=True)


def put_table(title: str, header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a table; off a terminal, plain columns."""
    if is_terminal():
        from rich.console import Console

        Console(file=sys.stdout).print(_rich_table(title, header, rows))
        return
    lines = [[visible(cell) for cell in row] for row in (header, *rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(header))]
    for line in lines:
        put("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


class LiveTable:
    """A table that changes in place on a terminal; lines stand above it. A context."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.live import Live

        self._live = Live(console=Console(file=sys.stdout), auto_refresh=False)

    def say(self, line: str) -> None:
        """Print a line above the table."""
        from rich.text import Text as RichText

        self._live.console.print(RichText(visible(line)))

    def show(self, title: str, header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
        """Show this table now."""
        self._live.update(_rich_table(title, header, rows), refresh=True)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()


def confirm(question: str) -> bool:
    """Ask a person."""
    return typer.confirm(visible(question))


def ask_secret(prompt: str) -> str:
    """What a person types unseen.

    Raises:
        EOFError: if nothing is typed.
    """
    from getpass import getpass

    return getpass(visible(prompt))


def is_terminal() -> bool:
    """Whether a person sees the results."""
    return sys.stdout.isatty()


def says_to_a_person() -> bool:
    """Whether a person sees what is said beside the results."""
    return sys.stderr.isatty()


def flush() -> None:
    """See that all of it is out."""
    sys.stdout.flush()
    sys.stderr.flush()


def silence() -> None:
    """Print nothing more: whoever read the results has gone."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


class LogHandler(logging.Handler):
    """Log records as lines on standard error."""

    def emit(self, record: logging.LogRecord) -> None:
        """As `logging.Handler`."""
        try:
            text = self.format(record)
        except (TypeError, ValueError, KeyError) as error:  # another package's arguments do not fit its message
            text = f"a log message of {record.name} has no text: {error}"
        with contextlib.suppress(OSError, ValueError):  # standard error is gone: there is nobody to tell
            if text.startswith("{"):  # an object of --json is one line
                typer.echo(_writable(visible(text), sys.stderr), file=sys.stderr)
            else:
                say_lines(text)


def take_over() -> None:
    """Have Python itself print through here: warnings, and errors of threads and finalizers that nobody caught."""
    logging.captureWarnings(True)
    threading.excepthook = lambda args: _say_traceback(args.exc_type, args.exc_value, args.exc_traceback)
    sys.unraisablehook = lambda args: _say_traceback(args.exc_type, args.exc_value, args.exc_traceback)


def _say_traceback(kind: type[BaseException], error: BaseException | None, where: TracebackType | None) -> None:
    for line in "".join(traceback.format_exception(kind, error, where)).splitlines():
        say(_BEHIND, line)


def _print(parts: Sequence[Text], stream: TextIO) -> None:
    shown = "".join(_shown(part, stream) for part in parts)
    plain = all(isinstance(part, str) for part in parts)
    lines = _folded(shown) if plain and stream.isatty() else [shown]
    for line in lines:
        typer.echo(_writable(line, stream), file=stream)


def _shown(part: Text, stream: TextIO) -> str:
    """Plain off a terminal, or if NO_COLOR is set (no-color.org); rich heeds that by itself."""
    if isinstance(part, str):
        return visible(part)
    colourful = stream.isatty() and not os.environ.get("NO_COLOR")
    return typer.style(visible(part.text), fg=part.colour.value) if colourful else visible(part.text)


def _folded(line: str) -> list[str]:
    """A line with a quotation in as many as the terminal needs. Left to itself, a terminal goes on at its left edge,
    where a verdict begins; other lines are left whole, since people copy commands and keys from them."""
    width = shutil.get_terminal_size().columns
    if len(line) * 2 <= width or width <= 2 * len(_GOES_ON) or not any(mark in line for mark in "\"'"):
        return [line]
    from rich.cells import cell_len

    lines, left = [""], width
    for word in re.findall(" *[^ ]*", line):
        cells = cell_len(word)
        is_whole = cells <= min(_CID, width - len(_GOES_ON))
        for part in [word] if is_whole else word:
            if (cells := cell_len(part)) > left:
                lines.append(_GOES_ON)
                left = width - len(_GOES_ON)
            lines[-1] += part
            left -= cells
    return lines


_CID: Final = 64
"""Columns that a word may have and still be moved to the next line whole: a CID has fewer, and people copy it."""


def _writable(text: str, stream: TextIO) -> str:
    """The text with escapes for what the stream's encoding does not have."""
    encoding = getattr(stream, "encoding", None) or "utf-8"
    return text.encode(encoding, "backslashreplace").decode(encoding)


def _rich_table(title: str, header: Sequence[str], rows: Iterable[Sequence[str]]) -> Table:
    from rich.table import Table
    from rich.text import Text as RichText  # other people's names and reasons may look like rich's markup

    table = Table(title=RichText(visible(title)), title_justify="left")
    for name in header:
        table.add_column(RichText(visible(name)), overflow="fold")
    for row in rows:
        table.add_row(*(RichText(visible(cell)) for cell in row))
    return table

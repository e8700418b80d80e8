"""The only place that prints. Each line goes through `visible` here, so no caller can forget it.

A call prints one line, whatever is in it. So names, reasons, settings and errors from other people cannot move the
cursor, change colours, or begin a new line. Colours are `Coloured`, never text. ``tests/peer/base/test_terminal.py``
checks that nothing else in the packages writes to standard output or error.
"""

from __future__ import annotations

import contextlib
import faulthandler
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

from protocol.labels import labelled
from protocol.visible import visible

if TYPE_CHECKING:
    from rich.console import Group

_GOES_ON: Final = "    "
"""The beginning of further lines, if a line with a quotation is wider than the terminal."""
_BEHIND: Final = "| "
"""The beginning of each line of a text with several lines, such as a file or a traceback."""


class Colour(Enum):
    """A colour on a terminal."""

    RED = typer.colors.RED
    GREEN = typer.colors.GREEN
    YELLOW = typer.colors.YELLOW


@dataclass(frozen=True, slots=True)
class Coloured:
    """Text that has a colour on a terminal. Give it to `put` or `say` by itself: it cannot be part of a text."""

    text: str
    colour: Colour

    def __str__(self) -> str:
        """Raises:
        TypeError: always.
        """
        raise TypeError(f"{self!r} cannot be part of a text: give it to put or say by itself")


Text = str | Coloured


_labels = False


def show_labels(wanted: bool) -> None:
    """Show labels in place of whole ids (`protocol.labels`), in lines and tables, from now on; or whole ids."""
    global _labels  # what is printed is one thing for the whole process
    _labels = wanted


def _for_people(text: str) -> str:
    return visible(labelled(text) if _labels else text)


def put(*parts: Text) -> None:
    """Print a line of the result, on standard output."""
    _print(parts, sys.stdout)


def put_whole(text: str) -> None:
    """Print a line of the result in which ids stay whole, because people compare them."""
    _print([text], sys.stdout, whole=True)


def say(*parts: Text) -> None:
    """Print a line for a person, on standard error."""
    _print(parts, sys.stderr)


def put_foreign_line(text: str) -> None:
    """Print a line of somebody else's file behind a bar, with its tabs."""
    typer.echo(_writable(_BEHIND + visible(text, keep="\t"), sys.stdout), file=sys.stdout)


def say_lines(text: str, colour: Colour | None = None) -> None:
    """Print a text with several lines for a person. All but the first are behind a bar, so that they cannot look like
    ours. ``colour`` is for the first."""
    first, *rest = text.splitlines() or [""]
    say(first if colour is None else Coloured(first, colour))
    for line in rest:
        say(_BEHIND, line)


def say_traceback(error: BaseException) -> None:
    """Print the traceback of an error, each line behind a bar."""
    _say_traceback(type(error), error, error.__traceback__)


def put_json_part(part: str) -> None:
    """Print a part of a JSON text. Its only control characters are line breaks."""
    typer.echo(_writable(visible(part, keep="\n"), sys.stdout), file=sys.stdout, nl=False)


def put_code(text: str) -> None:
    """Print ``text`` as a QR code, if this is a terminal on which all of it can be seen."""
    if not is_terminal():
        return
    import segno

    code, screen = segno.make(text, error="l", micro=False), shutil.get_terminal_size()
    columns, rows = code.symbol_size()
    if columns <= screen.columns and (rows + 1) // 2 < screen.lines:  # two rows of it are a line
        code.terminal(compact=True)


def put_table(title: str, header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a table; plain columns, if this is not a terminal. On one that is too narrow for the longest word of each
    column, each row is a list of names and values."""
    if is_terminal():
        from rich.console import Console

        console, rows = Console(file=sys.stdout), list(rows)
        too_narrow = _least_width(header, rows) > console.width
        console.print((_rich_lists if too_narrow else _rich_table)(title, header, rows))
        return
    lines = [[_for_people(cell) for cell in row] for row in (header, *rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(header))]
    for line in lines:
        put("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


class LiveTable:
    """A table that changes in place on a terminal, below the lines. A context."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.live import Live

        self._live = Live(console=Console(file=sys.stdout), auto_refresh=False)

    def say(self, line: str) -> None:
        """Print a line above the table."""
        from rich.text import Text as RichText

        self._live.console.print(RichText(_for_people(line)))

    def show(self, title: str, header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
        """Show this table from now on."""
        self._live.update(_rich_table(title, header, rows), refresh=True)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()


class LiveLines:
    """Lines that change in place on a terminal, cut where it ends. A context."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.live import Live

        self._live = Live(console=Console(file=sys.stdout), auto_refresh=False, vertical_overflow="crop")

    def say(self, line: str) -> None:
        """Print a line above them."""
        from rich.text import Text as RichText

        self._live.console.print(RichText(_for_people(line)))

    def show(self, lines: Iterable[Sequence[Text]]) -> None:
        """Show these lines from now on."""
        from rich.console import Group
        from rich.text import Text as RichText

        shown = [RichText.assemble(*map(_rich_part, line), no_wrap=True, overflow="ellipsis") for line in lines]
        self._live.update(Group(*shown), refresh=True)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()


def _rich_part(part: Text) -> str | tuple[str, str]:
    return _for_people(part) if isinstance(part, str) else (visible(part.text), part.colour.value)


def confirm(question: str) -> bool:
    """Ask a person yes or no."""
    return typer.confirm(visible(question))


def ask_secret(prompt: str) -> str:
    """Ask a person for a text, and do not show it.

    Raises:
        EOFError: if nothing is typed.
    """
    from getpass import getpass

    return getpass(visible(prompt))


def is_terminal() -> bool:
    """Whether results go to a terminal."""
    return sys.stdout.isatty()


def says_to_a_person() -> bool:
    """Whether what is said goes to a terminal."""
    return sys.stderr.isatty()


def flush() -> None:
    """Write out everything printed so far."""
    sys.stdout.flush()
    sys.stderr.flush()


def silence() -> None:
    """Print no more results, because their reader has gone."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


class LogHandler(logging.Handler):
    """Log records as lines on standard error."""

    def emit(self, record: logging.LogRecord) -> None:
        """As `logging.Handler`."""
        try:
            text = self.format(record)
        except (TypeError, ValueError, KeyError) as error:  # another package's arguments do not fit its message
            text = f"a log message of {record.name} has no text: {error}"
        with contextlib.suppress(OSError, ValueError):  # standard error may be gone
            if text.startswith("{"):  # an object, which is one line
                typer.echo(_writable(visible(text), sys.stderr), file=sys.stderr)
            else:
                first, *rest = text.splitlines() or [""]
                for line in (first, *(_BEHIND + each for each in rest)):
                    _print([line], sys.stderr, whole=True)  # a log is searched for ids


def take_over() -> None:
    """Let Python's own messages be printed here: warnings, and uncaught errors of threads and finalizers. What a crash
    in native code leaves to say goes to standard error as it is: where each thread was, and no value."""
    if sys.stderr is not None:  # None if it was closed
        faulthandler.enable()
    logging.captureWarnings(True)
    threading.excepthook = lambda args: _say_traceback(args.exc_type, args.exc_value, args.exc_traceback)
    sys.unraisablehook = lambda args: _say_traceback(args.exc_type, args.exc_value, args.exc_traceback)


def _say_traceback(kind: type[BaseException], error: BaseException | None, where: TracebackType | None) -> None:
    for line in "".join(traceback.format_exception(kind, error, where)).splitlines():
        say(_BEHIND, line)


def _print(parts: Sequence[Text], stream: TextIO, *, whole: bool = False) -> None:
    shown = "".join(_shown(part, stream, whole=whole) for part in parts)
    plain = all(isinstance(part, str) for part in parts)
    lines = _folded(shown) if plain and stream.isatty() else [shown]
    for line in lines:
        typer.echo(_writable(line, stream), file=stream)


def _shown(part: Text, stream: TextIO, *, whole: bool) -> str:
    """Colours only on a terminal, and not if NO_COLOR is set (no-color.org); rich heeds that by itself."""
    if isinstance(part, str):
        return visible(part) if whole else _for_people(part)
    colourful = stream.isatty() and not os.environ.get("NO_COLOR")
    text = _for_people(part.text)
    return typer.style(text, fg=part.colour.value) if colourful else text


def _folded(line: str) -> list[str]:
    """Break a line with a quotation to fit the terminal. A terminal itself would go on at its left edge, where a quoted
    text could look like a verdict. Other lines stay whole, because people copy commands and keys from them."""
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
"""A word with at most this many columns is never broken. A CID is shorter, and people copy it."""


def _writable(text: str, stream: TextIO) -> str:
    """The text, with escapes for characters that the stream's encoding lacks."""
    encoding = getattr(stream, "encoding", None) or "utf-8"
    return text.encode(encoding, "backslashreplace").decode(encoding)


def _rich_table(title: str, header: Sequence[str], rows: Iterable[Sequence[str]]) -> Group:
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text as RichText  # a plain string could hold rich's markup

    table = Table()
    for name in header:
        table.add_column(RichText(visible(name)), overflow="fold")
    for row in rows:
        table.add_row(*(RichText(_for_people(cell)) for cell in row))
    return Group(RichText(visible(title), style="table.title"), table)  # a title of the table's own is as narrow as it


def _least_width(header: Sequence[str], rows: Iterable[Sequence[str]]) -> int:
    """The columns of a terminal on which a table breaks no word."""
    from rich.cells import cell_len

    lines = [[_for_people(cell) for cell in row] for row in (header, *rows)]
    columns = zip(*lines, strict=True)
    longest = [max(cell_len(word) for cell in column for word in (cell.split() or [""])) for column in columns]
    return sum(width + 3 for width in longest) + 1  # a frame and two spaces for each, and the last frame


def _rich_lists(title: str, header: Sequence[str], rows: Iterable[Sequence[str]]) -> Group:
    """The rows one below the other, each with the names of its columns. What is empty is left out."""
    from rich.console import Group, RenderableType
    from rich.table import Table
    from rich.text import Text as RichText

    lists: list[RenderableType] = []
    for row in rows:
        pairs = [(name, cell) for name, cell in zip(header, row, strict=True) if cell]
        table = Table.grid(padding=(0, 2, 0, 0))
        table.add_column(no_wrap=True)
        table.add_column(overflow="fold")  # what goes on begins below itself, and not at the left edge
        for name, cell in pairs:
            table.add_row(RichText(_for_people(name)), RichText(_for_people(cell)))
        lists += [table, RichText("")]
    return Group(RichText(visible(title), style="table.title"), *lists)

"""How a demo is shown: a live table on a terminal, plain lines elsewhere."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, Self

import typer

from peer.cli.output import size
from peer.demo.progress import Progress

if TYPE_CHECKING:
    from rich.table import Table


class Display(Protocol):
    """Shows a demo while it runs. A context."""

    def say(self, line: str) -> None:
        """Tell one thing."""

    def show(self, progress: Progress) -> None:
        """Show how far it is now."""

    def __enter__(self) -> Self:
        """Begin."""

    def __exit__(self, *_: object) -> None:
        """End; what stands on the terminal stays."""


class PlainDisplay:
    """Lines alone."""

    def __init__(self, *, to_stderr: bool) -> None:
        self._to_stderr = to_stderr

    def say(self, line: str) -> None:
        """As `Display`."""
        typer.echo(line, err=self._to_stderr)

    def show(self, progress: Progress) -> None:
        """As `Display`: there is nothing to show between lines."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass


class LiveDisplay:
    """A table that changes in place; lines stand above it."""

    def __init__(self) -> None:
        from rich.live import Live

        self._live = Live(auto_refresh=False)
        self._shown = ""

    def say(self, line: str) -> None:
        """As `Display`."""
        self._live.console.print(line, markup=False, highlight=False)

    def show(self, progress: Progress) -> None:
        """As `Display`."""
        now = f"{progress.clients} {progress.accuracy}"
        if now != self._shown:  # a terminal that is written to all the time flickers
            self._shown = now
            self._live.update(_table(progress), refresh=True)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()


def _table(progress: Progress) -> Table:
    from rich.table import Table

    accuracy = "" if progress.accuracy is None else f", accuracy {progress.accuracy:.3f}"
    table = Table(title=f"round {progress.round} of {progress.rounds}{accuracy}", title_justify="left")
    for name in ("client", "state", "progress", "sent", "accuracy"):
        table.add_column(name)
    total = 2 * progress.rounds  # Flower's strategies send each client a train and an evaluate message a round
    for name, client in progress.clients.items():
        done = min(client.answered, total)
        bar = "█" * (done * _BAR // total) + "·" * (_BAR - done * _BAR // total)
        measured = "" if client.accuracy is None else f"{client.accuracy:.3f}"
        table.add_row(name, client.activity.value, f"{bar} {done}/{total}", size(client.bytes), measured)
    return table


_BAR = 20
"""Characters of a progress bar."""

"""How a demo is shown: a live table on a terminal, plain lines elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, Protocol, Self

from peer.base.terminal import LiveTable, put, say
from peer.cli.output import size
from peer.demo.progress import Progress


class Display(Protocol):
    """Shows a demo while it runs. A context."""

    def say(self, line: str) -> None:
        """Print a line."""

    def show(self, progress: Progress) -> None:
        """Show how far the demo is."""

    def __enter__(self) -> Self:
        """Begin."""

    def __exit__(self, *_: object) -> None:
        """End, and leave on the terminal what is there."""


class PlainDisplay:
    """Prints lines, and no table."""

    def __init__(self, *, to_stderr: bool) -> None:
        self._to_stderr = to_stderr

    def say(self, line: str) -> None:
        """As `Display`."""
        (say if self._to_stderr else put)(line)

    def show(self, progress: Progress) -> None:
        """Nothing: there is no table."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass


class LiveDisplay:
    """Shows a table that changes in place, below the lines."""

    def __init__(self) -> None:
        self._live = LiveTable()
        self._shown = ""

    def say(self, line: str) -> None:
        """As `Display`."""
        self._live.say(line)

    def show(self, progress: Progress) -> None:
        """As `Display`."""
        now = f"{progress.servers} {progress.clients} {progress.accuracy}"
        if now != self._shown:  # otherwise the terminal flickers
            self._shown = now
            self._live.show(_title(progress), _HEADER, _rows(progress))

    def __enter__(self) -> Self:
        self._live.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.__exit__()


_HEADER: Final = ("peer", "state", "progress", "sent", "accuracy")


def _title(progress: Progress) -> str:
    accuracy = "" if progress.accuracy is None else f", accuracy {progress.accuracy:.3f}"
    return f"round {progress.round} of {progress.rounds}{_reign(progress)}{accuracy}"


def _reign(progress: Progress) -> str:
    """Who leads; empty if nobody else could."""
    if len(progress.servers) < 2:
        return ""
    if (takeover := progress.takeover) is None:
        return f", {progress.leader} leads"
    if not takeover.led:
        return ", nobody leads"
    pause = takeover.led - takeover.killed
    return f", {takeover.leader} leads in term {takeover.term} ({pause:.1f} s after the kill)"


def _rows(progress: Progress) -> Iterator[list[str]]:
    total = 2 * progress.rounds  # Flower's strategies send each client two messages in a round: train and evaluate
    if len(progress.servers) > 1:
        for name, server in progress.servers.items():
            yield [name, server.duty.value, f"term {server.term}" if server.term else "", "", ""]
    for name, client in progress.clients.items():
        done = min(client.answered, total)
        bar = "█" * (done * _BAR // total) + "·" * (_BAR - done * _BAR // total)
        measured = "" if client.accuracy is None else f"{client.accuracy:.3f}"
        yield [name, client.activity.value, f"{bar} {done}/{total}", size(client.bytes), measured]


_BAR = 20
"""Characters of a progress bar."""

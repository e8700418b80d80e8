"""The demo's processes: started, listened to through their logs, and ended, all of them, whatever happens."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Self

from peer.base.errors import ExitCode, PeerError
from peer.base.interrupts import Interrupts
from peer.demo.plan import DemoPeer
from protocol.roles.effects import What

_STOP_SECONDS: Final = 15.0
"""Seconds that peers have to stop in good order; an app process that does not end takes its peer 5."""

_LAST_LINES: Final = 5

Field = str | int | float | None


@dataclass(frozen=True, slots=True)
class LogEvent:
    """One report in a peer's log."""

    peer: str
    what: What
    fields: Mapping[str, Field]

    def text(self, field: str) -> str:
        """A field, as text."""
        return str(self.fields.get(field, ""))

    def number(self, field: str) -> int:
        """A field, as a number; 0 if it is none."""
        value = self.fields.get(field)
        return int(value) if isinstance(value, int | float) else 0


def parse_line(peer: str, line: str) -> LogEvent | None:
    """The report in a line of a log; None if it is another kind of line."""
    try:
        value = json.loads(line)
        return LogEvent(peer, What(value["event"]), value)
    except (ValueError, TypeError, KeyError):
        return None


class PeerProcess:
    """One ``peer start``. What it prints goes to its log, which is read here as it grows."""

    def __init__(self, peer: DemoPeer, command: Sequence[str], engine: str) -> None:
        self.peer = peer
        peer.log.parent.mkdir(parents=True, exist_ok=True)
        with peer.log.open("ab") as log:
            self._begin = self._read = log.tell()
            self._process = subprocess.Popen(
                [sys.executable, "-m", "peer", *command],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=_environment(engine),
                start_new_session=True,  # Ctrl-C in the terminal is for the demo, which then stops all in good order
            )

    @property
    def code(self) -> int | None:
        """What it ended with, None while it runs."""
        return self._process.poll()

    def events(self) -> Iterator[LogEvent]:
        """What it has reported since the last call."""
        with self.peer.log.open("rb") as log:
            log.seek(self._read)
            data = log.read()
        complete = data.rfind(b"\n") + 1
        self._read += complete
        for line in data[:complete].decode(errors="replace").splitlines():
            if (event := parse_line(self.peer.name, line)) is not None:
                yield event

    def failure(self) -> PeerError:
        """That it ended, as people need to hear it."""
        assert self.code is not None
        ending = f"was killed by signal {-self.code}" if self.code < 0 else f"ended with exit code {self.code}"
        said = self._last_lines() or ["(nothing)"]
        log = self.peer.log
        if self.code == ExitCode.APP_FAILED:
            log = self.peer.home.path / "logs" / f"app-{self.peer.role}.log"
        known = self.code in set(ExitCode) - {ExitCode.DONE}
        return PeerError(
            "\n".join([f"{self.peer.name} {ending}; it said last:", *(f"  | {line}" for line in said)]),
            fix=f"see the cause in {log}",
            code=ExitCode(self.code) if known else ExitCode.UNFINISHED,
        )

    def _last_lines(self) -> list[str]:
        """What it said last: to people, if it did; else to its log."""
        with self.peer.log.open("rb") as log:
            log.seek(self._begin)
            lines = log.read().decode(errors="replace").splitlines()
        events = [line for line in lines if parse_line(self.peer.name, line) is not None]
        said = [_words(line) for line in lines if line.strip() and line not in events]
        return (said or events)[-_LAST_LINES:]

    def terminate(self) -> None:
        """Ask it to stop."""
        if self.code is None:
            self._process.terminate()

    def wait(self, seconds: float) -> None:
        """Wait for its end; kill it, and thereby its app process, if that does not come."""
        try:
            self._process.wait(max(0.0, seconds))
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


class PeerProcesses:
    """All of them. Used as a context, at whose end none is left."""

    def __init__(self, interrupts: Interrupts) -> None:
        self._interrupts = interrupts
        self.all: list[PeerProcess] = []

    def start(self, peer: DemoPeer, command: Sequence[str], engine: str) -> None:
        """Start one more, which uses ``engine``."""
        with self._interrupts.held():
            self.all.append(PeerProcess(peer, command, engine))

    def events(self) -> Iterator[LogEvent]:
        """What they have reported since the last call."""
        for process in self.all:
            yield from process.events()

    def raise_failure(self) -> None:
        """Return while none has failed.

        Raises:
            PeerError: if one has; it says which, and its last lines.
        """
        for process in self.all:
            if process.code not in (None, 0):
                raise process.failure()

    @property
    def ended(self) -> bool:
        """Whether all have ended."""
        return all(process.code is not None for process in self.all)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with self._interrupts.held():
            for process in self.all:
                process.terminate()
            deadline = time.monotonic() + _STOP_SECONDS
            for process in self.all:
                process.wait(deadline - time.monotonic())


def _words(line: str) -> str:
    """A line that is not a report: words, or the one object of ``--json``, which says why an app raised."""
    try:
        value = json.loads(line)
    except ValueError:
        return line
    return str(value.get("reason") or line) if isinstance(value, dict) else line


def _environment(engine: str) -> dict[str, str]:
    """Ours, without what would speak for the peers of the demo. Their options are on their command lines, but the
    engine's address, which may have a password in it: all users of a machine see those."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith("POLLEN_")}
    return {**ours, "POLLEN_IPFS": engine, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}

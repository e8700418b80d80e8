"""The demo's processes: starts them, reads their logs, and ends all of them, whatever happens."""

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
from peer.cli.output import ERROR
from peer.demo.plan import DemoPeer
from protocol.roles.effects import What

_STOP_SECONDS: Final = 15.0
"""Seconds that peers have to stop. A peer waits up to 5 of them for its app process."""

_LAST_LINES: Final = 5

Field = str | int | float | None


@dataclass(frozen=True, slots=True)
class LogEvent:
    """One report in a peer's log."""

    peer: str
    what: What
    fields: Mapping[str, Field]

    @property
    def time(self) -> float:
        """When it was logged, in seconds since 1970; 0 if the line does not say."""
        said = self.fields.get("time")
        return said if isinstance(said, float) else 0.0

    def text(self, field: str) -> str:
        """A field, as text."""
        return str(self.fields.get(field, ""))


def parse_line(peer: str, line: str) -> LogEvent | None:
    """The report in a line of a log; None if the line is something else."""
    try:
        value = json.loads(line)
        return LogEvent(peer, What(value["event"]), value)
    except (ValueError, TypeError, KeyError):
        return None


class PeerProcess:
    """One ``peer start``. Its output goes to its log, which is read as it grows."""

    def __init__(self, peer: DemoPeer, command: Sequence[str], engine: str) -> None:
        self.peer = peer
        self.was_killed = False
        """Whether we have killed it: then its end is no failure."""
        peer.log.parent.mkdir(parents=True, exist_ok=True)
        with peer.log.open("ab") as log:
            self._begin = self._read = log.tell()
            self._process = subprocess.Popen(
                [sys.executable, "-m", "peer", *command],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=_environment(engine),
                start_new_session=True,  # so that Ctrl-C reaches only the demo, which then stops the peers in order
            )

    @property
    def code(self) -> int | None:
        """The exit code; None while the process runs."""
        return self._process.poll()

    def events(self) -> Iterator[LogEvent]:
        """The reports since the last call."""
        with self.peer.log.open("rb") as log:
            log.seek(self._read)
            data = log.read()
        complete = data.rfind(b"\n") + 1
        self._read += complete
        for line in data[:complete].decode(errors="replace").splitlines():
            if (event := parse_line(self.peer.name, line)) is not None:
                yield event

    def failure(self) -> PeerError:
        """The end of the process as an error for people."""
        assert self.code is not None
        ending = f"was killed by signal {-self.code}" if self.code < 0 else f"ended with exit code {self.code}"
        said = self._last_lines() or ["(nothing)"]
        app_failed = self.code == ExitCode.APP_FAILED
        log = self.peer.home.app_log(self.peer.role) if app_failed else self.peer.log
        known = self.code in set(ExitCode) - {ExitCode.DONE}
        return PeerError(
            "\n".join([f"{self.peer.name} {ending}. Its last lines:", *(f"  | {line}" for line in said)]),
            fix=f"see the cause in {log}",
            code=ExitCode(self.code) if known else ExitCode.UNFINISHED,
        )

    def _last_lines(self) -> list[str]:
        """Its last lines for people; if there are none, its last reports."""
        with self.peer.log.open("rb") as log:
            log.seek(self._begin)
            lines = log.read().decode(errors="replace").splitlines()
        events = [line for line in lines if parse_line(self.peer.name, line) is not None]
        said = [_words(line) for line in lines if line.strip() and line not in events and ERROR not in line]
        return (said or events)[-_LAST_LINES:]

    def terminate(self) -> None:
        """Ask the process to stop."""
        if self.code is None:
            self._process.terminate()

    def kill(self) -> None:
        """Kill the process (-9), as the demo is asked to: it can say nothing any more. Its app process ends with it."""
        self.was_killed = True
        self._process.kill()

    def wait(self, seconds: float) -> None:
        """Wait for its end. After ``seconds``, kill it, which ends its app process too."""
        try:
            self._process.wait(max(0.0, seconds))
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


class PeerProcesses:
    """All processes. A context, at whose end none is left."""

    def __init__(self, interrupts: Interrupts) -> None:
        self._interrupts = interrupts
        self.all: list[PeerProcess] = []

    def start(self, peer: DemoPeer, command: Sequence[str], engine: str) -> None:
        """Start a peer that uses ``engine``."""
        with self._interrupts.held():
            self.all.append(PeerProcess(peer, command, engine))

    def start_again(self, peer: DemoPeer, command: Sequence[str], engine: str) -> None:
        """Start a peer anew whose process was killed."""
        self.of(peer.name).wait(_STOP_SECONDS)
        self.all = [process for process in self.all if process.peer.name != peer.name]
        self.start(peer, command, engine)

    def of(self, name: str) -> PeerProcess:
        """The process of a peer."""
        return next(process for process in self.all if process.peer.name == name)

    def events(self) -> Iterator[LogEvent]:
        """The reports since the last call."""
        for process in self.all:
            yield from process.events()

    def raise_failure(self) -> None:
        """Raise `PeerError` with the last lines of a process, if one has failed."""
        for process in self.all:
            if process.code not in (None, 0) and not process.was_killed:
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
    """A line that is not a report: words, or the object of ``--json``, which says why an app raised."""
    try:
        value = json.loads(line)
    except ValueError:
        return line
    return str(value.get("reason") or line) if isinstance(value, dict) else line


def _environment(engine: str) -> dict[str, str]:
    """Our environment without our own settings, and with the engine: its address may have a password in it, and all
    users of the machine can read a command line."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith("POLLEN_")}
    return {**ours, "POLLEN_IPFS": engine, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}

"""Kills a process at a chosen step, for tests of crash safety.

This is off unless the variable POLLEN_FAULT is set, to ``VICTIM:STEP:WHEN:NTH``. The ``NTH`` time (from 1) that this
peer comes to ``STEP``, it kills the victim with SIGKILL, ``before`` or ``after`` the step. The victim is this ``peer``,
its ``app`` process, or the ``engine``, which is the daemon of the Kubo node in its home. The steps are the effects that
touch disk or network, and ``app-answered``: the peer takes something from its app process.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final, TypeVar

from peer.base import posix
from peer.base.errors import PeerError
from protocol.app.calls import Answered, Examine
from protocol.roles.effects import (
    Effect,
    FetchContent,
    FetchRecord,
    Hand,
    KeepReply,
    PinRun,
    Publish,
    Store,
    WriteHead,
)
from protocol.roles.events import AppCalled, Event

T = TypeVar("T")

VARIABLE: Final = "POLLEN_FAULT"


class Victim(StrEnum):
    """The process to kill."""

    PEER = "peer"
    APP = "app"
    ENGINE = "engine"


class Step(StrEnum):
    """The step at which it is killed."""

    STORE = "store"
    PIN = "pin"
    WRITE_HEAD = "write-head"
    KEEP_REPLY = "keep-reply"
    PUBLISH = "publish"
    FETCH_RECORD = "fetch-record"
    FETCH_CONTENT = "fetch-content"
    HAND = "hand"
    APP_ANSWERED = "app-answered"


class When(StrEnum):
    """Before or after the step."""

    BEFORE = "before"
    AFTER = "after"


_STEPS: Final[Mapping[type, Step]] = {
    Store: Step.STORE,
    PinRun: Step.PIN,
    WriteHead: Step.WRITE_HEAD,
    KeepReply: Step.KEEP_REPLY,
    Publish: Step.PUBLISH,
    FetchRecord: Step.FETCH_RECORD,
    FetchContent: Step.FETCH_CONTENT,
    Examine: Step.FETCH_CONTENT,  # how a server fetches the contents of replies
    Hand: Step.HAND,
    Answered: Step.APP_ANSWERED,
    AppCalled: Step.APP_ANSWERED,
}


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault. ``str`` and `parse` are inverse."""

    victim: Victim
    step: Step
    when: When
    nth: int = 1

    def __str__(self) -> str:
        return f"{self.victim}:{self.step}:{self.when}:{self.nth}"

    @classmethod
    def parse(cls, text: str) -> Fault:
        """The fault in ``text``.

        Raises:
            PeerError: if there is none.
        """
        try:
            victim, step, when, nth = text.split(":")
            return cls(Victim(victim), Step(step), When(when), int(nth))
        except ValueError as error:
            raise PeerError(
                f"{VARIABLE}={text} is not a fault: {error}",
                fix=f"unset {VARIABLE}; only tests of crash safety set it, to VICTIM:STEP:before|after:NTH",
            ) from error


class Faults:
    """The fault in this process's environment, if there is one. Safe to use from several threads."""

    def __init__(self, home: Path, app: Callable[[], int | None]) -> None:
        """``home`` has the Kubo node; ``app`` gives the id of the app process."""
        text = os.environ.get(VARIABLE)
        self._fault = Fault.parse(text) if text else None
        self._home = home
        self._app = app
        self._lock = threading.Lock()
        self._count = 0

    def around(self, what: Effect | Event, do: Callable[[], T]) -> T:
        """Carry out an effect or handle an event, and return what ``do`` returns."""
        fault = self._fault
        if fault is None or _STEPS.get(type(what)) is not fault.step:
            return do()
        with self._lock:
            self._count += 1
            strikes = self._count == fault.nth
        if strikes and fault.when is When.BEFORE:
            self._strike(fault.victim)
        done = do()
        if strikes and fault.when is When.AFTER:
            self._strike(fault.victim)
        return done

    def _strike(self, victim: Victim) -> None:
        pid = self._pid(victim)
        if pid is None:
            raise RuntimeError(f"{VARIABLE}: there is no {victim} process to kill")
        os.kill(pid, signal.SIGKILL)

    def _pid(self, victim: Victim) -> int | None:
        match victim:
            case Victim.PEER:
                return os.getpid()
            case Victim.APP:
                return self._app()
            case Victim.ENGINE:
                return _holder(self._home / "ipfs" / "repo.lock")


def _holder(lock: Path) -> int | None:
    """The process that holds a node's repository; None if none does."""
    with lock.open("rb+") as file:
        return posix.holder_of_range_lock(file)

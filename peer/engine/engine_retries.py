"""Patience with an engine that is away: a node that is started again in mid-run ends no run."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Final, TypeVar

from peer.base import logs
from peer.engine.interface import EngineUnavailable

T = TypeVar("T")

ENGINE_AWAY: Final = 60.0
"""Seconds that an engine may be away. A node that was killed is back in two; a person needs longer to start one."""

_PAUSE: Final = 0.25
"""Seconds between two tries."""

_DEAREST: Final = 5.0
"""Seconds of patience that one try uses up at most. One that took longer hung, or the machine slept meanwhile: that
says nothing of how long whoever fixes the engine has had."""


class EngineRetries:
    """Does work on an engine again while the engine does not answer, and says so. Safe from several threads."""

    def __init__(self, seconds: float = ENGINE_AWAY, clock: Callable[[], float] = time.monotonic) -> None:
        self._seconds = seconds
        self._clock = clock
        self._lost = threading.Event()
        self._lock = threading.Lock()
        self._is_away = False

    def __call__(self, work: Callable[[], T]) -> T:
        """What ``work`` returns. It is done again from its beginning, so it must be harmless to do twice.

        Raises:
            EngineUnavailable: if the engine stayed away too long, or `lose` was called.
        """
        left = self._seconds
        while True:
            began = self._clock()
            try:
                return self.once(work)
            except EngineUnavailable:
                if left <= 0 or self._lost.wait(_PAUSE):
                    raise
            left -= min(self._clock() - began, _DEAREST)

    def once(self, work: Callable[[], T]) -> T:
        """What ``work`` returns, tried once. That the engine went away, or came back, is said by whoever sees it first.

        Raises:
            EngineUnavailable: if the engine does not answer.
        """
        try:
            done = work()
        except EngineUnavailable as error:
            if self._turns(away=True):
                logs.event("engine-away", logging.WARNING, why=str(error), fix=error.fix, waits=self._seconds)
            raise
        if self._turns(away=False):
            logs.event("engine-back", logging.WARNING)
        return done

    def lose(self) -> None:
        """Wait no more, now and later: the owner wants to stop."""
        self._lost.set()

    def _turns(self, *, away: bool) -> bool:
        """Whether this is news."""
        with self._lock:
            before, self._is_away = self._is_away, away
        return before is not away

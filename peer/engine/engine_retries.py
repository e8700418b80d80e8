"""Retries while an engine is away: that a node is started again does not end a run."""

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
"""Seconds that one try counts at most. If it took longer, it hung or the machine slept: nobody had that time to fix the
engine."""


class EngineRetries:
    """Repeats work on an engine while the engine does not answer, and logs that. Safe from several threads."""

    def __init__(self, seconds: float = ENGINE_AWAY, clock: Callable[[], float] = time.monotonic) -> None:
        self._seconds = seconds
        self._clock = clock
        self._lost = threading.Event()
        self._lock = threading.Lock()
        self._is_away = False

    def __call__(self, work: Callable[[], T]) -> T:
        """What ``work`` returns. It may be repeated from its beginning, so doing it twice must be harmless.

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
        """What ``work`` returns, tried once. The first try that sees the engine go away, or come back, logs it.

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
        """Wait no longer, now or later: the owner wants to stop."""
        self._lost.set()

    def _turns(self, *, away: bool) -> bool:
        """Whether the engine went away, or came back, since it was seen last."""
        with self._lock:
            before, self._is_away = self._is_away, away
        return before is not away

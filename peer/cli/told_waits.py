"""What a command says while it waits for blocks that are not here, so that it is not silent for half a minute.

One line on standard error for each wait that lasts, with ``--json`` too. What is answered at once is never told.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from peer.base.terminal import say
from peer.cli.output import counted, duration
from peer.engine.interface import EngineError
from peer.history.run_sources import Wait

AFTER: Final = 2.0
"""Seconds until a wait is told. One that ends by then anyway is told only if it goes on for longer than it was to."""

Later = Callable[[float, Callable[[], None]], Callable[[], None]]
"""Calls a function after some seconds, unless what it returns is called before. Once that has returned, the function is
not running either."""


@dataclass(frozen=True, slots=True)
class ToldWaits:
    """Tells a person of waits that last. It is a `peer.history.run_sources.Waits`."""

    later: Later
    tell: Callable[[str], None]

    @contextlib.contextmanager
    def __call__(self, wait: Wait) -> Iterator[None]:
        """As `peer.history.run_sources.Waits` says."""
        patience = AFTER if wait.seconds > AFTER else wait.seconds + AFTER
        take_back = self.later(patience, lambda: self.tell(words_of(wait)))
        try:
            yield
        finally:
            take_back()


def words_of(wait: Wait) -> str:
    """What is looked for, from whom, and for how long at most."""
    first, *more = wait.wanted
    limit = duration(wait.seconds)
    if wait.of_content:
        return f"fetching {first}, which is not whole here, from {_others(wait)}: until nothing of it came for {limit}"
    if more:
        many = f"{len(wait.wanted)} blocks that are not here, the first is {first}"
        return f"looking for {many}, at {_others(wait)}: for each {limit} at most"
    return f"looking for {first}, which is not here, at {_others(wait)}: {limit} at most"


def _others(wait: Wait) -> str:
    try:
        count = wait.others()
    except EngineError:  # the wait itself ends with this error
        return "other nodes"
    if count == 0:
        return "other nodes (connected to none now)"
    return f"the {counted(count, 'node')} that this one is connected to"


def _in_a_thread(seconds: float, then: Callable[[], None]) -> Callable[[], None]:
    timer = threading.Timer(seconds, then)
    timer.daemon = True
    timer.start()

    def take_back() -> None:
        timer.cancel()
        timer.join()

    return take_back


TOLD_WAITS: Final = ToldWaits(_in_a_thread, say)
"""Tells of waits on standard error."""

"""Watching over the home's own node: if it died or hangs, it is started again.

It keeps its address, so that its engine finds it again.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from peer.base import logs
from peer.engine.interface import EngineError

if TYPE_CHECKING:  # it imports httpx, which other engines do not need
    from peer.engine.kubo.node import KuboNode

NODE_POLL: Final = 0.5
"""Seconds between two looks at whether the node lives."""


@dataclass(frozen=True, slots=True)
class HangLimits:
    """When a living node counts as hung: if it left so many calls in a row unanswered. Calls count, not seconds: a
    machine that slept or was paused spoils one call at most."""

    looks: int = 10
    """How many looks at whether the node lives go by from one call to the next."""
    seconds: float = 10.0
    """How long it has to answer a call, which is of the cheapest kind."""
    calls: int = 3
    """How many unanswered calls in a row are too many."""


class NodeWatch:
    """Starts a node again if it died or hangs."""

    def __init__(self, node: KuboNode, limits: HangLimits | None = None) -> None:
        self._node = node
        self._limits = limits or HangLimits()
        self._over = threading.Event()
        self._looks = self._unanswered = 0

    @contextlib.contextmanager
    def watching(self) -> Iterator[None]:
        """Watch, in a thread, until the context ends."""
        watching = threading.Thread(target=self._run, name="node", daemon=True)
        watching.start()
        try:
            yield
        finally:
            self._over.set()
            watching.join()

    def look(self) -> None:
        """Look once, and start the node again if need be."""
        if not self._node.is_running:
            logs.event("node-died", logging.WARNING, log=str(self._node.log))
            self._start_again()
        elif self._hangs():
            logs.event("node-hung", logging.WARNING, log=str(self._node.log))
            self._node.stop()
            self._start_again()

    def _run(self) -> None:
        while not self._over.wait(NODE_POLL):
            self.look()

    def _hangs(self) -> bool:
        self._looks += 1
        if self._looks % self._limits.looks:
            return False
        self._unanswered = 0 if self._node.answers(self._limits.seconds) else self._unanswered + 1
        return self._unanswered >= self._limits.calls

    def _start_again(self) -> None:
        self._looks = self._unanswered = 0
        try:
            self._node.start()
        except EngineError as error:  # it is tried again; those who need the node meanwhile say so
            logs.event("node-not-started", logging.ERROR, why=str(error), fix=error.fix)
        else:
            logs.event("node-started-again", logging.WARNING)

"""Watching over the node in the home: one that died, or hangs, is started again.

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

if TYPE_CHECKING:  # httpx and all: not for an engine that is no Kubo
    from peer.engine.kubo.node import KuboNode

NODE_POLL: Final = 0.5
"""Seconds between two looks at whether the node lives."""


@dataclass(frozen=True, slots=True)
class HangLimits:
    """When a node that lives counts as hung: once so many calls in a row were not answered. Calls are counted, not
    seconds: a machine that slept, or was paused, spoils one of them at most."""

    looks: int = 10
    """From one call to the next, in looks at whether it lives."""
    seconds: float = 10.0
    """That it has to answer one, of the cheapest kind."""
    calls: int = 3


class NodeWatch:
    """Starts a node again if it has to be."""

    def __init__(self, node: KuboNode, limits: HangLimits | None = None) -> None:
        self._node = node
        self._limits = limits or HangLimits()
        self._over = threading.Event()
        self._looks = self._unanswered = 0

    @contextlib.contextmanager
    def watching(self) -> Iterator[None]:
        """Watch, in a thread, until this is left."""
        watching = threading.Thread(target=self._run, name="node", daemon=True)
        watching.start()
        try:
            yield
        finally:
            self._over.set()
            watching.join()

    def look(self) -> None:
        """Look once, and start the node again if that is needed."""
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
        except EngineError as error:  # tried again; whoever needs the node meanwhile says so
            logs.event("node-not-started", logging.ERROR, why=str(error), fix=error.fix)
        else:
            logs.event("node-started-again", logging.WARNING)

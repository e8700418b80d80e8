"""Sets the pins that wait while a managed node runs, as nobody else wants something of it."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Sequence
from typing import Final

from peer.engine.interface import EngineError
from peer.engine.kubo.contents.node_pins import NodePins
from peer.engine.kubo.contents.waiting_pins import WaitingPin, WaitingPins
from protocol.blocks.cid import CID

_LOOK_EVERY: Final = 1.0
"""Seconds between two looks whether there are pins to be set."""

_REST: Final = 2.0
"""For how many seconds nothing must be noted before pins are set: then an exchange is over, or its clients train."""

_AT_ONCE: Final = 8
"""How many pins are set before there is another look: some 20 ms of the node's time."""

_MOST: Final = 256
"""How many pins wait at most where there is no rest. To set so many takes a node a second or two, at its start too."""

_log = logging.getLogger(__name__)


class PinSettler:
    """Sets pins in a thread of its own, from the first `wake` on."""

    def __init__(self, pins: NodePins, waiting: WaitingPins, is_here: Callable[[CID], bool]) -> None:
        self._pins = pins
        self._waiting = waiting
        self._is_here = is_here
        self._over = threading.Event()
        self._starting = threading.Lock()
        self._thread: threading.Thread | None = None
        self._left = 0.0
        """When the marks were changed last, as we left them."""
        self._is_away = False
        """Whether the node did not answer when pins were to be set last."""
        self._failed: set[WaitingPin] = set()
        """What could not be set. It is not tried again here: its mark stays, and so does what it leads to."""

    def wake(self) -> None:
        """Something was noted. Safe from several threads."""
        with self._starting:
            if self._thread is None and not self._over.is_set():
                self._thread = threading.Thread(target=self._run, name="pins", daemon=True)
                self._thread.start()

    def settle(self) -> None:
        """Set all that wait, now."""
        self._set(self._waiting.all())

    def close(self) -> None:
        """Set what still waits, if anything was noted here and the node answers, and end the thread. A node that hangs
        is waited for once."""
        with self._starting:
            self._over.set()
        if self._thread is None:
            return
        self._thread.join()
        if self._is_away:
            return
        with contextlib.suppress(EngineError):  # the next start does it
            self.settle()

    def _run(self) -> None:
        while not self._over.wait(_LOOK_EVERY):
            try:
                self._look()
            except EngineError as error:  # it is tried again
                _log.debug("pins wait on: %s", error)

    def _look(self) -> None:
        waiting = [pin for pin in self._waiting.all() if pin not in self._failed]
        while waiting and not self._over.is_set() and (len(waiting) > _MOST or self._rests()):
            self._set(waiting[:_AT_ONCE])
            self._left = self._waiting.changed()
            del waiting[:_AT_ONCE]

    def _rests(self) -> bool:
        """Whether nobody else has noted a pin for a while."""
        changed = self._waiting.changed()
        return changed == self._left or time.time() - changed >= _REST

    def _set(self, pins: Sequence[WaitingPin]) -> None:
        self._is_away = True  # until it has answered: a look at which nothing is to be set tells nothing of it
        failed = self._pins.settle([pin for pin in pins if pin not in self._failed], self._is_here)
        self._is_away = False
        for pin, why in failed.items():
            self._failed.add(pin)
            _log.warning("%s is not pinned before the node starts again: %s", pin.cid, why)

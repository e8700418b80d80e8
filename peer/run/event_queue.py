"""The events that wait for the machine, in such an order that a flood from outside does not delay our own."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Final, Generic, TypeVar

from protocol.roles.events import EngineAnswered, Received, Stopping

E = TypeVar("E")

MOST_OURS: Final = 4096
"""Events of our own work that may wait before whoever can wait does: the app process, which may say anything."""


class EventQueue(Generic[E]):
    """First comes the owner's wish to stop this peer, then the events of our own work, then what others announce. That
    the engine has answered waits with the announcements, because it comes after those that the engine brought before.

    For one event loop: from other threads, call `put` with ``call_soon_threadsafe``.
    """

    def __init__(self) -> None:
        self._stopping: deque[E] = deque()
        self._ours: deque[E] = deque()
        self._announced: deque[E] = deque()
        self._filled = asyncio.Event()
        self._taken = asyncio.Event()

    def put(self, event: E) -> None:
        """Add an event, behind those of its kind."""
        match event:
            case Stopping():
                self._stopping.append(event)
            case Received() | EngineAnswered():
                self._announced.append(event)
            case _:
                self._ours.append(event)
        self._filled.set()

    async def next(self) -> E:
        """Wait for the next event.

        Other callbacks of the loop run first, also signal handlers, however many events wait.
        """
        await asyncio.sleep(0)
        await self._filled.wait()
        event = next(queue for queue in (self._stopping, self._ours, self._announced) if queue).popleft()
        if not (self._stopping or self._ours or self._announced):
            self._filled.clear()
        self._taken.set()
        return event

    async def room(self) -> None:
        """Wait until few events of our own work wait."""
        while len(self._ours) >= MOST_OURS:
            self._taken.clear()
            await self._taken.wait()

"""The events that wait for the machine, so that no flood from outside keeps what is our own waiting."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Generic, TypeVar

from protocol.roles.events import EngineAnswered, Received, Stopping

E = TypeVar("E")


class EventQueue(Generic[E]):
    """Events in the order in which they are served: that the owner stops this peer, then what comes of our own work,
    and only then what others announce; that our engine answered comes behind what it brought before. For one event
    loop: `put` it from threads with ``call_soon_threadsafe``."""

    def __init__(self) -> None:
        self._stopping: deque[E] = deque()
        self._ours: deque[E] = deque()
        self._announced: deque[E] = deque()
        self._filled = asyncio.Event()

    def put(self, event: E) -> None:
        """Let an event wait, behind those of its kind."""
        match event:
            case Stopping():
                self._stopping.append(event)
            case Received() | EngineAnswered():
                self._announced.append(event)
            case _:
                self._ours.append(event)
        self._filled.set()

    async def next(self) -> E:
        """The event to take now, once there is one.

        Other callbacks of the loop run before, signal handlers among them, however many events wait.
        """
        await asyncio.sleep(0)
        await self._filled.wait()
        event = next(queue for queue in (self._stopping, self._ours, self._announced) if queue).popleft()
        if not (self._stopping or self._ours or self._announced):
            self._filled.clear()
        return event

"""The calls of an app process that its peer has not answered yet. While there are too many, no more are read: an app
may call without end, and its peer has to keep each call until it can answer."""

from __future__ import annotations

import asyncio
from typing import Final

from protocol.app.calls import FromApp, GridCall, ServerAnswer, ToApp
from protocol.app.pipe import MAX_FRAME, PipeError

MAX_CALLS: Final = 1024
"""Calls that may be open: one for each thread that a confined app may have. A thread of an app waits for its answer."""

MAX_BYTES: Final = MAX_FRAME
"""Bytes that the open calls may have together, before the next is read."""


class OpenCalls:
    """For one app process, in one event loop."""

    def __init__(self) -> None:
        self._sizes: dict[int, int] = {}
        """Of each open call, by its number."""
        self._size = 0
        self._may_come = asyncio.Event()
        self._may_come.set()

    def came(self, value: FromApp, size: int) -> None:
        """The app process has sent a value of so many bytes.

        Raises:
            PipeError: if it is a call with the number of one that is open.
        """
        if isinstance(value, GridCall):
            if value.call in self._sizes:
                raise PipeError(f"a {type(value).__name__} with the number of a call that is open")
            self._sizes[value.call] = size
            self._change(size)

    def answered(self, value: ToApp) -> None:
        """The peer hands the process a value, which may be an answer."""
        if isinstance(value, ServerAnswer):
            self._change(-self._sizes.pop(value.call, 0))

    @property
    def are_few(self) -> bool:
        """Whether another call may come."""
        return len(self._sizes) < MAX_CALLS and self._size < MAX_BYTES

    async def few(self) -> None:
        """Wait until another call may come."""
        await self._may_come.wait()

    def _change(self, size: int) -> None:
        self._size += size
        if self.are_few:
            self._may_come.set()
        else:
            self._may_come.clear()

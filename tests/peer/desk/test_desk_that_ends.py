"""The desk ends with its peer, whatever arrives in that moment."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from peer.desk.passing_on import _PassingOn
from protocol.roles.events import Received


@pytest.mark.parametrize("ticks", range(4))
def test_an_announcement_that_comes_as_the_desk_is_cancelled_does_not_keep_it(ticks: int) -> None:
    async def ends() -> bool:
        session: Any = SimpleNamespace(identity=SimpleNamespace(id=b"admin"))
        desk = _PassingOn(session, None)

        async def listen() -> None:
            while True:
                await desk._next(60.0)

        listening = asyncio.create_task(listen())
        for _ in range(3):
            await asyncio.sleep(0)
        desk._waiting.put_nowait(Received(b"said"))
        for _ in range(ticks):
            await asyncio.sleep(0)
        listening.cancel()
        for _ in range(10):
            await asyncio.sleep(0)
        ended = listening.cancelled()
        listening.cancel()
        return ended

    assert asyncio.run(ends())

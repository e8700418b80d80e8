"""`peer.run.event_queue`: what is served first, and that a flood keeps nobody from stopping a peer."""

from __future__ import annotations

import asyncio
import os
import signal

from peer.run.event_queue import EventQueue
from protocol.roles.events import Due, EngineAnswered, Event, Received, Stopping


def test_the_owner_is_served_before_our_own_work_and_that_before_others() -> None:
    async def served() -> list[type]:
        queue = EventQueue[Event]()
        for event in (Received(b"1"), Due(), Received(b"2"), Stopping()):
            queue.put(event)
        return [type(await queue.next()) for _ in range(4)]

    assert asyncio.run(served()) == [Stopping, Due, Received, Received]


def test_announcements_keep_their_order_and_that_the_engine_answered_is_behind_them() -> None:
    events = [*(Received(bytes([number])) for number in range(5)), EngineAnswered()]

    async def served() -> list[Event]:
        queue = EventQueue[Event]()
        for event in events:
            queue.put(event)
        return [await queue.next() for _ in events]

    assert asyncio.run(served()) == events


def test_a_signal_is_heard_while_announcements_never_cease() -> None:
    async def taken_until_stopped() -> int:
        queue = EventQueue[Event]()
        queue.put(Received(b""))
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, queue.put, Stopping())
        for taken in range(100_000):
            if isinstance(await queue.next(), Stopping):
                return taken
            queue.put(Received(b""))  # whatever is taken, there is always one more
            if taken == 10:
                os.kill(os.getpid(), signal.SIGTERM)
        raise AssertionError("the peer never stops")

    assert asyncio.run(taken_until_stopped()) < 100


def test_a_waiting_runner_is_woken_by_the_next_event() -> None:
    async def woken() -> Event:
        queue = EventQueue[Event]()
        asyncio.get_running_loop().call_later(0, queue.put, Due())
        return await queue.next()

    assert isinstance(asyncio.run(woken()), Due)

"""`peer.run.announcement_queue`: a flood of announcements stays within its memory, and others are heard after it."""

from __future__ import annotations

from peer.run.announcement_queue import MAX_BYTES, MAX_WAITING, AnnouncementQueue
from protocol.roles.events import Received


def test_no_more_of_a_million_announcements_wait_than_may() -> None:
    waiting: list[Received] = []
    queue = AnnouncementQueue(waiting.append)
    for _ in range(1_000_000):
        queue.receive(b"an announcement")
    assert len(waiting) == MAX_WAITING
    assert queue.dropped == 1_000_000 - MAX_WAITING


def test_large_ones_wait_in_no_more_memory_than_small_ones() -> None:
    waiting: list[Received] = []
    queue = AnnouncementQueue(waiting.append)
    large = bytes(512 << 10)
    for _ in range(1000):
        queue.receive(large)
    assert len(waiting) * len(large) <= MAX_BYTES


def test_what_is_taken_makes_room() -> None:
    waiting: list[Received] = []
    queue = AnnouncementQueue(waiting.append)
    for _ in range(MAX_WAITING + 1):
        queue.receive(b"an announcement")
    queue.taken(waiting.pop())
    queue.receive(b"another")
    assert waiting[-1].data == b"another"

"""Work on the chunks of a content in several threads at once: hashing and AES release Python's lock."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from concurrent.futures.thread import ThreadPoolExecutor
from typing import Final, TypeVar

T = TypeVar("T")
R = TypeVar("R")

WORKERS: Final = min(4, os.cpu_count() or 1)
"""More would wait for memory."""


def side_by_side(function: Callable[[T], R], items: Iterable[T]) -> Iterator[R]:
    """As `map`, with up to ``WORKERS`` calls at once, and at most one more result held.

    The caller's own thread reads ``items``. The threads end with the work, so an app that forks finds no threads.
    """
    with ThreadPoolExecutor(WORKERS, thread_name_prefix="chunks") as pool:
        begun: deque[Future[R]] = deque()
        for item in items:
            begun.append(pool.submit(function, item))
            if len(begun) > WORKERS:
                yield begun.popleft().result()
        while begun:
            yield begun.popleft().result()

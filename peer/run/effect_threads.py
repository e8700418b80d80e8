"""The threads that carry out effects, in separate pools.

What a member claims to have may be nowhere, and then the search takes a thread until it times out. So the run, members'
replies, their claims about the manifest, and their addresses have separate threads.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Final

from protocol.records.bodies import Federation, Reply
from protocol.roles.effects import (
    Connect,
    Durable,
    FetchContent,
    FetchRecord,
    PinRun,
    Publish,
    ReadBundle,
    UnpackApp,
)

FETCHERS: Final = 8
"""How many records and contents are fetched at once, and as many replies."""

BackgroundEffect = Durable | FetchRecord | FetchContent | UnpackApp | ReadBundle | PinRun | Publish | Connect
"""The effects that take time."""


class EffectThreads:
    """A pool of threads for each kind of work."""

    def __init__(self) -> None:
        self._durable = ThreadPoolExecutor(1, "durable")  # one thread, to keep the order
        self._publisher = ThreadPoolExecutor(1, "publish")
        self._run = ThreadPoolExecutor(FETCHERS, "fetch")
        self._answers = ThreadPoolExecutor(FETCHERS, "fetch-answer")
        self._claims = ThreadPoolExecutor(2, "fetch-claim")
        self._connecting = ThreadPoolExecutor(2, "connect")
        self.placing = ThreadPoolExecutor(1, "place-root")
        self.staying_connected = ThreadPoolExecutor(1, "stay-connected")
        self.listening = ThreadPoolExecutor(1, "listen")

    def of(self, effect: BackgroundEffect) -> ThreadPoolExecutor:
        """The pool for ``effect``."""
        if isinstance(effect, Durable):
            return self._durable
        match effect:
            case Publish():
                return self._publisher
            case Connect():
                return self._connecting
            case FetchRecord(kind=kind) if kind is Federation:
                return self._claims
            case FetchRecord(kind=kind) if kind in (Reply, None):
                return self._answers
            case FetchContent(of_reply=True):
                return self._answers
            case FetchRecord() | FetchContent() | UnpackApp() | ReadBundle() | PinRun():
                return self._run

    def close(self) -> None:
        """Finish what is durable or published, and begin nothing else."""
        fetching = self._run, self._answers, self._claims, self.placing
        for pool in (*fetching, self._connecting, self.staying_connected, self.listening):
            pool.shutdown(wait=False, cancel_futures=True)
        self._publisher.shutdown()
        self._durable.shutdown()

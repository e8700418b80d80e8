"""An app's looks at the nodes: held until enough clients are here, and counted while it does nothing else.

Flower's own strategies wait for clients by looking at the nodes again and again (``sample_nodes`` in
``flwr.serverapp.strategy.strategy_utils``). For how many is known to the app alone; that it waits shows in its doing
nothing else.
"""

from __future__ import annotations

import math
from typing import Final

from protocol.app.calls import GetNodes
from protocol.roles.offline_times import OfflineTimes
from protocol.roles.waiting import TOLD_AGAIN

WAITING_AFTER: Final = 5.0
"""Seconds for which an app has done nothing but look at the nodes, until that counts as waiting for them."""

WAITING_LOOKS: Final = 3
"""How many looks that takes: an app that does something slow between two of them waits for nothing."""

Nodes = tuple[int, ...]


class EnoughClients:
    """Whether enough clients are here to answer an app's looks, and how long it has done nothing but look."""

    def __init__(self, min_clients: int, offline: OfflineTimes) -> None:
        self.needed = max(1, min_clients)
        """How many clients a new run's first look waits for."""
        self._offline = offline
        self.begin_again()

    def begin_again(self) -> None:
        """Another process of the app is started."""
        self._expected: Nodes = ()
        self._grace: tuple[float, float] | None = None
        """Since when the first look of a resumed run waits, and for how many seconds."""
        self._held: list[GetNodes] = []
        self._are_answered = False
        self._since: float | None = None
        self._times = 0
        self._told: Nodes | None = None
        self._last_told: dict[Nodes, float] = {}
        """When an app was said to wait while these were listed."""

    def expect(self, nodes: Nodes, since: float, grace: float) -> None:
        """The first look of a resumed run waits for ``nodes``, those of the last look on record, ``grace`` seconds."""
        self._expected, self._grace = nodes, (since, grace)

    @property
    def _until(self) -> float | None:
        return None if self._grace is None else self._offline.ends(*self._grace)

    def hold(self, look: GetNodes) -> None:
        """The app looks."""
        self._held.append(look)

    def may_answer(self, listed: Nodes, now: float) -> bool:
        """Whether looks may be told of the nodes ``listed``."""
        if self._are_answered:
            return True
        if self._until is not None and self._expected:
            return now >= self._until or set(self._expected) <= set(listed)
        return len(listed) >= self.needed

    def release(self, now: float) -> list[GetNodes]:
        """The looks that are held, to be answered now."""
        held, self._held = self._held, []
        self._are_answered = self._are_answered or bool(held)
        if self._since is None:
            self._since = now
        self._times += len(held)
        return held

    @property
    def is_short(self) -> bool:
        """Whether the app waits for more clients: its look is held, or it was said to do nothing but look."""
        return bool(self._held) or self._told is not None

    @property
    def short_of(self) -> int | None:
        """How many clients the held look waits for; None if the app alone knows."""
        return (len(self._expected) or self.needed) if self._held else None

    def is_held_until(self) -> float | None:
        """When looks are answered whoever is here; None if that is not by time."""
        return self._until if self._held and not self._are_answered else None

    def did_else(self) -> None:
        """The app asked for something else: it does not wait."""
        self._since, self._times, self._told = None, 0, None

    def is_news(self, listed: Nodes, now: float) -> bool:
        """Whether the app waits for nodes, and was not said to wait while these were listed."""
        waits = self._since is not None and now >= self._since + WAITING_AFTER and self._times >= WAITING_LOOKS
        if not waits or listed == self._told:
            return False
        self._told = listed
        if now < self._last_told.get(listed, -math.inf) + TOLD_AGAIN:
            return False  # clients come and go
        self._last_told = {each: at for each, at in self._last_told.items() if now < at + TOLD_AGAIN} | {listed: now}
        return True

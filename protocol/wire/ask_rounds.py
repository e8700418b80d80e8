"""Whom to ask for what pubsub may not have brought, and when (`protocol.wire.asking`). Pure: the clock is handed in."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Final

from protocol.pacing.retry import FIRST_RETRY, SLOWEST_RETRY
from protocol.wire.asking import Place

FAILED_FIRST: Final = 5.0
FAILED_LONGEST: Final = 300.0
"""Seconds until somebody who did not answer is asked again, at first and at last; each time twice as long."""

AT_ONCE: Final = 4
"""Asked at the same time, at most."""

MAX_TARGETS: Final = 1024
"""Of which is known when they were asked."""


@dataclass(frozen=True, slots=True)
class Target:
    """Somebody to ask: a member, where its node may be. Only one of the nodes is right, and which is not known."""

    node: str
    """The engine's own name of the node."""
    member: bytes


@dataclass(slots=True)
class _Asked:
    at: float
    """When to ask it next."""
    delay: float = FIRST_RETRY
    failed: float = FAILED_FIRST
    read: Place = field(default_factory=Place)
    """How far its board is read."""
    told: Place = field(default_factory=Place)
    """How far it has read ours."""


class Rounds:
    """Whom to ask when. Who tells something that pubsub did not bring is asked again soon, and all the time; else
    it is asked every 10 seconds, and who does not answer more and more seldom."""

    def __init__(self) -> None:
        self._asked: OrderedDict[Target, _Asked] = OrderedDict()
        self._under_way: set[Target] = set()

    def due(self, targets: Collection[Target], now: float) -> list[Target]:
        """Those of ``targets`` to ask now; each is under way until `answered` or `failed`. Whoever has waited longest
        comes first, so that none waits for what others say."""
        for target in targets:
            self._asked.setdefault(target, _Asked(now))
        waiting = [target for target in targets if target not in self._under_way and self._asked[target].at <= now]
        waiting.sort(key=lambda target: self._asked[target].at)
        chosen = waiting[: AT_ONCE - len(self._under_way)]
        self._under_way.update(chosen)
        for target in [old for old in self._asked if old not in self._under_way][: len(self._asked) - MAX_TARGETS]:
            del self._asked[target]
        return chosen

    def places(self, target: Target) -> tuple[Place, Place]:
        """How far the target's board is read, and how far it has read ours."""
        asked = self._asked[target]
        return asked.read, asked.told

    def answered(self, target: Target, read: Place, told: Place, *, news: bool, now: float) -> None:
        """It answered; ``news``: with something that we had not heard before."""
        asked = self._asked[target]
        asked.read, asked.told, asked.failed = read, told, FAILED_FIRST
        asked.delay = FIRST_RETRY if news else min(2 * asked.delay, SLOWEST_RETRY)
        asked.at = now + asked.delay
        self._under_way.discard(target)

    def could_not_ask(self, target: Target, now: float) -> None:
        """Our own engine did not do it, which says nothing of the target."""
        self._asked[target].at = now + FAILED_FIRST
        self._under_way.discard(target)

    def did_not_answer(self, target: Target, now: float) -> None:
        """It was asked."""
        asked = self._asked[target]
        asked.at, asked.failed = now + asked.failed, min(2 * asked.failed, FAILED_LONGEST)
        self._under_way.discard(target)

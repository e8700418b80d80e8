"""Whom to ask for what pubsub may have lost, and when (`protocol.wire.asking`). Pure: the caller passes the time."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Final

from protocol.pacing.backoff import FIRST_RETRY, SLOWEST_RETRY
from protocol.wire.asking import Place

FAILED_FIRST: Final = 5.0
FAILED_LONGEST: Final = 300.0
"""Seconds until a target that did not answer is asked again: at first, and at most. Each time it is twice as long."""

AT_ONCE: Final = 4
"""How many are asked at the same time."""

MAX_TARGETS: Final = 1024
"""How many are remembered."""


@dataclass(frozen=True, slots=True)
class Target:
    """A member, and a node that may be the member's. Only one of its possible nodes is right; we do not know which."""

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


class AskingSchedule:
    """Whom to ask when. A target whose answers bring news that pubsub did not is asked again soon, all the others every
    10 seconds. A target that does not answer is asked more and more seldom."""

    def __init__(self) -> None:
        self._asked: OrderedDict[Target, _Asked] = OrderedDict()
        self._under_way: set[Target] = set()

    def due(self, targets: Collection[Target], now: float) -> list[Target]:
        """Those of ``targets`` to ask now. Each is under way until one of the methods below says how it went. The one
        that has waited longest comes first, so that no target is forgotten."""
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
        """The target answered. ``news``: it told something that we had not heard."""
        asked = self._asked[target]
        asked.read, asked.told, asked.failed = read, told, FAILED_FIRST
        asked.delay = FIRST_RETRY if news else min(2 * asked.delay, SLOWEST_RETRY)
        asked.at = now + asked.delay
        self._under_way.discard(target)

    def could_not_ask(self, target: Target, now: float) -> None:
        """Our own engine failed, which says nothing about the target."""
        self._asked[target].at = now + FAILED_FIRST
        self._under_way.discard(target)

    def did_not_answer(self, target: Target, now: float) -> None:
        """The target was asked and did not answer."""
        asked = self._asked[target]
        asked.at, asked.failed = now + asked.failed, min(2 * asked.failed, FAILED_LONGEST)
        self._under_way.discard(target)

"""What asking (`protocol.wire.asking`) shows of pubsub: whom it should bring, and does not. Pure: the clock is handed
in."""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

MAX_NODES: Final = 1024
"""Of which is known what pubsub brings."""

HEARD_LATELY: Final = 20.0
"""Seconds since a node was heard by pubsub after which it counts as unheard: a member beats every 2."""

DEAF_AFTER: Final = 5
"""Talks in a row that brought what pubsub had not, with a node that pubsub does not bring, until that is taken for a
fault: pubsub takes a moment to begin."""

FIX_AGAIN: Final = 60.0
"""Seconds until the engine is asked again to hear a node."""


class Hearing:
    """Which nodes pubsub should bring, and does not; which do not hear us by it."""

    def __init__(self) -> None:
        self._deaf: OrderedDict[str, int] = OrderedDict()
        self._unheard: OrderedDict[str, int] = OrderedDict()
        self._fixed: OrderedDict[str, float] = OrderedDict()

    def talked(self, node: str, *, news: bool, heard_ago: float | None, now: float) -> bool:
        """A node told something by asking, or being asked; whether it is time to have the engine hear it by pubsub."""
        if heard_ago is not None and heard_ago < HEARD_LATELY:
            self._deaf.pop(node, None)
            return False
        count = _count(self._deaf, node) if news else 0
        if count < DEAF_AFTER or now < self._fixed.get(node, -FIX_AGAIN) + FIX_AGAIN:
            return False
        self._fixed[node] = now
        _bound(self._fixed)
        return True

    def told(self, node: str, *, hears: bool) -> bool:
        """A node says whether it hears ours by pubsub; whether people are to be told that it does not: once."""
        if hears:
            self._unheard.pop(node, None)
            return False
        return _count(self._unheard, node) == 2 * DEAF_AFTER


def _count(counts: OrderedDict[str, int], node: str) -> int:
    counts[node] = counts.get(node, 0) + 1
    _bound(counts)
    return counts.get(node, 0)


def _bound(kept: OrderedDict[str, int] | OrderedDict[str, float]) -> None:
    while len(kept) > MAX_NODES:
        kept.popitem(last=False)

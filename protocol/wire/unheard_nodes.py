"""What asking (`protocol.wire.asking`) shows about pubsub: which nodes it should bring, and does not. Pure: the caller
passes the time."""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

from protocol.pacing.at_most_every import AtMostEvery

MAX_NODES: Final = 1024
"""How many nodes are remembered."""

HEARD_LATELY: Final = 20.0
"""Seconds without a word by pubsub after which a node counts as unheard. Members beat every 2 seconds."""

UNHEARD_AFTER: Final = 5
"""How many talks in a row have to bring news that pubsub did not, before we take it for a fault: pubsub takes a moment
to begin."""

FIX_AGAIN: Final = 60.0
"""Seconds until the engine is asked again to hear a node."""


class UnheardNodes:
    """Which nodes we do not hear by pubsub, and which do not hear us."""

    def __init__(self) -> None:
        self._unheard_here: OrderedDict[str, int] = OrderedDict()
        self._unheard_there: OrderedDict[str, int] = OrderedDict()
        self._may_fix = AtMostEvery(FIX_AGAIN)

    def talked(self, node: str, *, news: bool, heard_ago: float | None, now: float) -> bool:
        """Note a talk with a node. Returns whether the engine should be told to hear that node by pubsub."""
        if heard_ago is not None and heard_ago < HEARD_LATELY:
            self._unheard_here.pop(node, None)
            return False
        count = _count(self._unheard_here, node) if news else 0
        return count >= UNHEARD_AFTER and self._may_fix.take(node, now)

    def told(self, node: str, *, hears: bool) -> bool:
        """Note whether a node hears ours by pubsub. Returns True once, if people should be told that it does not."""
        if hears:
            self._unheard_there.pop(node, None)
            return False
        return _count(self._unheard_there, node) == 2 * UNHEARD_AFTER


def _count(counts: OrderedDict[str, int], node: str) -> int:
    counts[node] = counts.get(node, 0) + 1
    if len(counts) > MAX_NODES:
        counts.popitem(last=False)
    return counts.get(node, 0)

"""Where a keeper is."""

from __future__ import annotations

from enum import Enum, auto


class KeeperState(Enum):
    """Where a keeper is. It keeps all runs of its federation at once, so none of them is a state of its own."""

    NEW = auto()
    KEEPING = auto()
    STOPPED = auto()

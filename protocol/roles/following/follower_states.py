"""Where a role that follows a run is, and what takes it elsewhere."""

from __future__ import annotations

from enum import Enum, auto


class FollowerState(Enum):
    """Where a client or a standby is."""

    NEW = auto()
    LISTENING = auto()
    """No run to follow, or none that it takes part in."""
    FOLLOWING = auto()
    """It takes part in the run that it follows."""
    STOPPED = auto()


class Turn(Enum):
    """What it brings about by itself, in the words of its diagram."""

    FOLLOWS = "takes part in a run"
    LISTENS = "the run is closed, left or declined"
    STOPS = "the one run that it was started for is closed"
    SUCCEEDS = "stands by in a run that it led"

"""Where a leader is, and what takes it elsewhere."""

from __future__ import annotations

from enum import Enum, auto


class LeaderState(Enum):
    """Where a leader is."""

    NEW = auto()
    PREPARING = auto()
    """Waiting for the app process to have its imports."""
    LEADING = auto()
    APPENDING = auto()
    """A record is on its way to disk; nothing else is decided meanwhile."""
    ENDING = auto()
    """The run is closed; the clients are hearing of it."""
    STOPPED = auto()


class Turn(Enum):
    """What a leader brings about by itself, in the words of its diagram."""

    PREPARES = "starts an app process"
    LEADS = "goes on with a resumed run"
    APPENDS = "appends a record"
    APPENDED = "the record is announced"
    ENDS = "the run is closed"
    STOPS = "the clients have heard of it"
    SUCCEEDS = "has won a term"
    YIELDS = "another leads in a higher term"

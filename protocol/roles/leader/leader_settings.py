"""The choices of a leader's owner."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from protocol.blocks.cid import CID
from protocol.replies.admission import Admission
from protocol.roles.leader.presence import AWAY_AFTER

LEAVE_TIMEOUT: Final = 60.0
"""Seconds that a client which said goodbye has to come back: enough to start it again with another option."""


@dataclass(frozen=True, slots=True)
class LeaderSettings:
    """The owner's choices. Times are in seconds."""

    min_clients: int
    client_timeout: float
    """From a message's dispatch until it is given up."""
    leave_timeout: float = LEAVE_TIMEOUT
    """The same from when its client said goodbye: it may come back."""
    admission: Admission = field(default_factory=Admission)
    away_after: float = AWAY_AFTER
    grace: float = 10.0
    """How long a resumed run waits for the clients of its last look."""
    waits_for_members: bool = False
    """Whether it waits for them without end, before it signs: its home may be an older copy of itself."""
    known_runs: frozenset[CID] = frozenset()
    """The runs that its home knows of, led here or followed."""
    linger: float = 10.0
    """How long a closed run waits for its clients to verify the last record."""

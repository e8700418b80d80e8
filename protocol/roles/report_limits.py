"""How often people are told what a member alone brings about: no member fills our logs."""

from __future__ import annotations

from typing import Final

from protocol.pacing.token_bucket import TokenBucket
from protocol.roles.effects import Report, What

COMPLAINTS: Final = frozenset(
    {What.RUN_REFUSED, What.RUN_LOST, What.CLAIM_REFUSED, What.REPLY_REFUSED, What.FETCH_FAILED}
)
"""The reports that a member may bring about as often as it likes."""
COMINGS: Final = frozenset({What.PEER_HERE, What.PEER_AWAY, What.PEER_LEFT})
"""So are these; a member that comes and goes many times a minute is broken, and said to be only so often."""

COMPLAINTS_AT_ONCE: Final = 100
COMPLAINTS_RATE: Final = 1.0
"""How many of them are told for long, a second and member."""
COMINGS_AT_ONCE: Final = 10
COMINGS_RATE: Final = 1 / 60


class ReportLimits:
    """Of what a member alone brings about only so much is told."""

    def __init__(self) -> None:
        self._complaints: dict[bytes, TokenBucket] = {}
        self._comings: dict[bytes, TokenBucket] = {}

    def is_told(self, report: Report, speaker: bytes, now: float) -> bool:
        """Whether people are told what this member brought about."""
        if report.what in COMINGS:
            bucket = self._comings.setdefault(speaker, TokenBucket(COMINGS_AT_ONCE, COMINGS_RATE))
        elif report.what in COMPLAINTS:
            bucket = self._complaints.setdefault(speaker, TokenBucket(COMPLAINTS_AT_ONCE, COMPLAINTS_RATE))
        else:
            return True
        return bucket.take(now)

"""What went wrong lately: refused replies, errors of apps, members that are away."""

from __future__ import annotations

from collections import deque
from typing import Final

from peer.run.narrator import line_of
from peer.status.peer_status import Happening
from protocol.roles.effects import Report, What

KEPT: Final = 20

_TROUBLE: Final = frozenset(
    {
        What.RUN_REFUSED,
        What.RUN_LOST,
        What.REPLY_REFUSED,
        What.REPLY_FAILED,
        What.MESSAGE_GIVEN_UP,
        What.ALL_REFUSED,
        What.ACK_REFUSED,
        What.TASK_FAILED,
        What.APP_LOST,
        What.APP_LACKS,
        What.EQUIVOCATION,
        What.JOIN_REFUSED,
        What.PAUSED,
        What.CLOSE_UNSETTLED,
        What.STANDS_NO_MORE,
        What.VOTERS_LACKING,
        What.PUBSUB_REFUSED,
        What.PUBSUB_UNHEARD,
        What.PUBSUB_NOT_HEARING,
        What.ASKING_OFF,
        What.DIVERGED,
        What.COMPUTED_OTHERWISE,
        What.CONTRADICTED,
        What.WITNESSES_AWAITED,
        What.NOT_TOLD,
        What.NOT_SIGNED,
    }
)


class RecentTrouble:
    """Keeps the newest reports of trouble, in words."""

    def __init__(self) -> None:
        self._kept: deque[Happening] = deque(maxlen=KEPT)

    def take(self, report: Report, now: float) -> None:
        """Keep the report, if it is of trouble. One that says the same as the last moves in its place."""
        if report.what not in _TROUBLE:
            return
        happening = Happening(now, report.what.value, line_of(report) or report.what.value)
        if self._kept and self._kept[-1].text == happening.text:
            self._kept.pop()
        self._kept.append(happening)

    def newest(self) -> tuple[Happening, ...]:
        """What is kept, the newest last."""
        return tuple(self._kept)

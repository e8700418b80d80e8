"""Whether a client takes part in the run that it follows, and why it does not."""

from __future__ import annotations

from typing import Final

from protocol.blocks.cid import CID
from protocol.keeping.plan import KeepPlan
from protocol.replies.closing_rule import ClosingRule
from protocol.roles.effects import What
from protocol.roles.following.follower_states import FollowerState, Turn
from protocol.roles.machine import Machine
from protocol.wire.announcements import Beat

MAX_NOTE: Final = 500
"""Characters of why we are of no use, in a beat."""


class TakingPart:
    """Our part in the run. Beats say why we are of no use in it, so that the leader's people can see to that."""

    def __init__(self, machine: Machine[FollowerState]) -> None:
        self._machine = machine
        self.note = ""
        """Why we are of no use; empty if we are of use, or do not know yet."""

    def begin(self) -> None:
        """Another run is followed, of which we know nothing yet."""
        self.note = ""
        self._machine.take(Turn.LISTENS)

    def take(self, run: CID, name: str, plan: KeepPlan, closing: ClosingRule | None) -> None:
        """Take part in the run of the app that is called ``name``. ``plan`` says what stays of it, ``closing`` when an
        exchange does not wait for all."""
        self.note = ""
        self._machine.take(Turn.FOLLOWS)
        words = "" if closing is None else closing.in_words()
        self._machine.outbox.report(What.RUN_FOLLOWED, run=str(run), app=name, keep=plan.text_if_any, closing=words)

    def decline(self, run: CID | None, why: str, now: float) -> None:
        """Take no part in the run (None: in any that this leader begins), and say so."""
        self._machine.take(Turn.LISTENS)
        self._machine.outbox.report(What.RUN_REFUSED, run=None if run is None else str(run), why=why)
        self.tell(why, now)

    def tell(self, note: str, now: float) -> None:
        """Say at once why we are of no use; empty: that we are of use again."""
        self.note = note[:MAX_NOTE]
        self._machine.announcer.say(Beat, now)

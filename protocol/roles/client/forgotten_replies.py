"""What a client may have signed in a run, and forgotten: its home may be an older copy of itself.

It asks the run's leader (`Recall`) before it signs anything there. The answer (`Recalled`) says how far the run was:
what is dispatched later is new to everybody. Of what was dispatched before, it says which messages have a reply.
"""

from __future__ import annotations

from protocol.blocks.cid import CID
from protocol.pacing.retry import Retry
from protocol.wire.announcements import MAX_ASKED, Known, Recall, Recalled


class Recalling:
    """Of one run. ``session`` is our process; empty: there is nothing that could have been forgotten."""

    def __init__(self, session: bytes) -> None:
        self._session = session
        self._known_from: int | None = None if session else -1
        """What is opened above this height was open to nobody when we asked; None before the leader has answered."""
        self._doubtful: dict[bytes, int] = {}
        """The messages that we may have answered, and the heights at which they were opened."""
        self._looked_for: set[CID] = set()
        """Replies that an ack of ours lists, and that are being fetched: they may be to any message."""
        self.retry = Retry(0.0)

    @property
    def has_listened(self) -> bool:
        """Whether the leader has answered: what it has of ours is known, but for `may_answer`."""
        return self._known_from is not None

    @property
    def is_asking(self) -> bool:
        """Whether there is something to ask."""
        return self._known_from is None or bool(self._doubtful)

    def opened(self, message: bytes, height: int) -> None:
        """The run has a message for us that this home has no reply to."""
        if self._known_from is None or height <= self._known_from:
            self._doubtful[message] = height
            self.retry.at = min(self.retry.at, self.retry.last)

    def settle(self, message: bytes) -> None:
        """The message is answered, or our reply to it is here."""
        self._doubtful.pop(message, None)

    def look_for(self, reply: CID) -> None:
        """An ack of ours lists a reply that we had forgotten."""
        self._looked_for.add(reply)

    def looked_for(self, reply: CID) -> None:
        """It is here, or nobody has it."""
        self._looked_for.discard(reply)

    def may_answer(self, message: bytes) -> bool:
        """Whether no other reply of ours can be there."""
        return self._known_from is not None and message not in self._doubtful and not self._looked_for

    def question(self, run: CID) -> Recall:
        """What to ask the run's leader."""
        return Recall(self._session, run, tuple(self._doubtful)[:MAX_ASKED])

    def answered(self, told: Recalled, height: int) -> list[Known]:
        """The leader, whose run was at ``height``, has answered: the replies that it has, which are to be taken up."""
        if self._known_from is None:
            self._known_from = height
            self._doubtful = {message: at for message, at in self._doubtful.items() if at <= height}
        for known in told.answers:
            if known.record is None:
                self.settle(known.message)
        return [known for known in told.answers if known.record is not None and known.message in self._doubtful]

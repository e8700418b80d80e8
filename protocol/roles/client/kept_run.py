"""What a client has on disk of a run."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from protocol.blocks.cid import CID, Block
from protocol.records.bodies import Ack
from protocol.roles.following.told_acks import NONE, AckedTo

MAX_REPLIES: Final = 1_000
"""Replies that one ack lists: they are in its own block. Others wait for the next."""


@dataclass(slots=True)
class KeptRun:
    """Its reply to each message, the `Context.state` after those that have one, in the order in which they were kept,
    and of its acks how far they go and the replies that they list."""

    replies: dict[bytes, CID] = field(default_factory=dict)
    states: dict[bytes, CID] = field(default_factory=dict)
    acked: AckedTo = NONE
    listed: set[CID] = field(default_factory=set)
    disputes: list[Block] = field(default_factory=list)
    """The acks by which other servers have contradicted the run."""

    def keep_ack(self, ack: Ack) -> None:
        """Note an ack that is on disk."""
        self.acked = max(self.acked, (ack.term, ack.height))
        self.listed |= listed(ack)

    def unlisted(self) -> list[CID]:
        """Replies that the next ack is to list."""
        return [reply for reply in self.replies.values() if reply not in self.listed][:MAX_REPLIES]


def listed(ack: Ack) -> frozenset[CID]:
    """The replies that an ack lists; they are in its own block."""
    replies = ack.replies.value
    return frozenset(replies) if isinstance(replies, tuple) else frozenset()

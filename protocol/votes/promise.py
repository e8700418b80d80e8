"""What a voter has promised in a run: on disk before anybody hears of it."""

from __future__ import annotations

from dataclasses import dataclass

from protocol.blocks.cid import CID, Block
from protocol.records.bodies import Vote
from protocol.records.signed_records import RecordError, parse_record


@dataclass(frozen=True, slots=True)
class Promise:
    """The newest vote of one member in one run. In Raft: ``currentTerm`` and ``votedFor``, which survive a crash.

    Whoever has it takes no record of a lower term for a leader's: it neither answers nor acks nor follows it.
    """

    term: int
    candidate: bytes
    head: CID
    """The candidate's newest record. The candidate may win with no other: the votes name it."""
    vote: CID
    """The signed vote. Whoever is asked for the same again gives the same record again: two would be a proof."""


@dataclass(frozen=True, slots=True)
class KeptVote:
    """A vote of our own, and what it promises."""

    promise: Promise
    block: Block

    @classmethod
    def of(cls, block: Block) -> KeptVote:
        """The vote in ``block``, which we have signed.

        Raises:
            protocol.blocks.cid.BlockError: if there is none.
        """
        body = parse_record(block).body
        if not isinstance(body, Vote):
            raise RecordError(f"{block.cid} is a {body.TYPE}, and no vote")
        return cls(Promise(body.term, body.candidate, body.head, block.cid), block)


def is_outvoted(term: int, promise: Promise | None) -> bool:
    """Whether what a leader says in ``term`` counts for nothing here, because a higher one is promised."""
    return promise is not None and term < promise.term

"""What voters promised, and what the same keys signed of older terms: together they may be a broken promise."""

from __future__ import annotations

import contextlib
from collections import defaultdict
from collections.abc import Iterator

from protocol.blocks.cid import CID, BlockError, BlockSource
from protocol.records.bodies import Ack, Vote
from protocol.records.broken_promises import BrokenPromise, HeadPlace, broken_promise, head_place
from protocol.records.signed_records import Record, read_record

Signer = tuple[bytes, bytes]
"""A member id, and the key that signed in its name."""


class Promises:
    """The votes and the other records of one run, whose signatures were found right.

    Of what one key signed, only the highest record and the highest ack of each term are kept. Memory grows with the
    votes, and with members and terms.
    """

    def __init__(self, source: BlockSource) -> None:
        self._source = source
        self._votes: dict[Signer, dict[CID, tuple[Record, HeadPlace]]] = defaultdict(dict)
        """Each vote by its id, and where the head is that it names."""
        self._said: dict[Signer, dict[tuple[bool, int], tuple[HeadPlace, Record]]] = defaultdict(dict)
        """By whether it is an ack, and the term."""

    def vote(self, record: Record) -> None:
        """Take in a vote. One whose head is not here cannot be judged."""
        if isinstance(record.body, Vote):
            with contextlib.suppress(BlockError):
                at = head_place(read_record(record.body.head, self._source).body)
                if at is not None:
                    self._votes[_signer(record)][record.id] = (record, at)

    def take(self, record: Record) -> None:
        """Take in a record of a chain, the one that is shown or another, or an ack."""
        place = head_place(record.body)
        if place is None:
            return
        said, kind = self._said[_signer(record)], (isinstance(record.body, Ack), place[0])
        if kind not in said or said[kind][0] < place:
            said[kind] = (place, record)

    def rule_out(self, member: bytes, place: HeadPlace) -> bool:
        """Whether a record of the member's at ``place`` would break one of its promises."""
        votes = (vote for (by, _), of in self._votes.items() if by == member for vote in of.values())
        return any(_rules_out(*vote, place) for vote in votes)

    def broken(self) -> Iterator[BrokenPromise]:
        """The promises that were broken: of each key one by a record and one by an ack, those of the lowest terms."""
        for signer, said in self._said.items():
            found: set[bool] = set()
            for (is_ack, _), (place, record) in sorted(said.items(), key=lambda each: each[0]):
                if is_ack not in found and (proof := self._proof(signer, place, record)) is not None:
                    found.add(is_ack)
                    yield proof

    def _proof(self, signer: Signer, place: HeadPlace, record: Record) -> BrokenPromise | None:
        for vote, at in self._votes.get(signer, {}).values():
            if _rules_out(vote, at, place):
                assert isinstance(vote.body, Vote)  # only votes are kept
                return broken_promise(vote, read_record(vote.body.head, self._source), record)
        return None


def _rules_out(vote: Record, at: HeadPlace, place: HeadPlace) -> bool:
    assert isinstance(vote.body, Vote)
    return place[0] < vote.body.term and at < place


def _signer(record: Record) -> Signer:
    return record.body.by, record.signers[0]

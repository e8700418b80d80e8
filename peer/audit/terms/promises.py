"""What voters promised, and what the same keys signed of older terms: together they may be a broken promise."""

from __future__ import annotations

import contextlib
from collections import defaultdict
from collections.abc import Iterator, Mapping, Set

from crypto.dsse import BadSignature
from peer.audit.key_history import KeyHistory
from peer.history.reigns import Reigns
from peer.history.verdict import BROKEN_PROMISE, PROMISE_IN_DOUBT, REVOKED_PROMISE, Finding
from protocol.blocks.cid import CID, BlockError, BlockSource
from protocol.chain.chain import Chain, Step
from protocol.records.bodies import Ack, Chained, Vote
from protocol.records.broken_promises import BrokenPromise, HeadPlace, broken_promise, head_place
from protocol.records.signed_records import Record, WellSigned, read_record

Signer = tuple[bytes, bytes]
"""A member id, and the key that signed in its name."""


class Promises:
    """The votes and the other records of one run, whose signatures were found right.

    Of what one key signed, only the highest record and the highest ack of each term are kept. Memory grows with the
    votes, and with members and terms.
    """

    def __init__(self, source: BlockSource, keys: KeyHistory) -> None:
        """``keys`` says whose key is whose: anybody may sign in anybody's name."""
        self._source = source
        self._keys = keys
        self._in_doubt: dict[CID, tuple[int, int, bytes]] = {}
        """Records that somebody confirmed and that their leaders ruled out: term, height and leader."""
        self._votes: dict[Signer, dict[CID, tuple[Record, HeadPlace]]] = defaultdict(dict)
        """Each vote by its id, and where the head is that it names."""
        self._said: dict[Signer, dict[tuple[bool, int], tuple[HeadPlace, Record]]] = defaultdict(dict)
        """By whether it is an ack, and the term."""

    def step(self, step: Step) -> None:
        """Take in a record of the chain that is shown, with the votes, and the words in a dispute, that it links."""
        self.take(step.record)
        for vote in step.votes:
            self.vote(vote)
        for said in step.dispute:
            self.take(said)

    def vote(self, record: Record) -> None:
        """Take in a vote. One whose head is not here cannot be judged, and one in a dispute promises nothing."""
        if isinstance(record.body, Vote) and record.body.against is None:
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

    def take_beside(self, record: Record, run: CID, well_signed: WellSigned) -> None:
        """Take in a vote or a record of a chain, of which nothing is known, if a member of ``run`` signed it there."""
        body = record.body
        self._in_doubt.pop(record.cid, None)
        if not isinstance(body, Vote | Chained) or body.run != run or len(record.signers) != 1:
            return
        if self._keys.ever_had(body.by, record.signers[0]):
            with contextlib.suppress(BadSignature):  # anybody can make one up
                record.check_signatures(well_signed)
                self.vote(record)
                self.take(record)

    def wanted(self, lost: Mapping[int, tuple[int, CID]], reigns: Reigns) -> Iterator[CID]:
        """Of the records that somebody confirmed in tails that were ``lost``, by term, those that their leaders had
        ruled out by a vote. If one is not taken in after this, it stays in doubt: the ack may be false."""
        for term, (height, head) in lost.items():
            leader = reigns.leader_of(term)
            if leader is not None and self._rules_out(leader, (term, height)):
                self._in_doubt[head] = (term, height, leader)
                yield head

    def findings(self, chain: Chain, revoked: Set[bytes]) -> Iterator[tuple[Finding, BrokenPromise | None]]:
        """What was found, and what proves it by itself. ``chain`` is all that is shown; the keys ``revoked`` are so by
        now, and nobody can tell who used them."""
        for found in self.broken():
            head, cid = found.head.body, found.record.cid
            assert isinstance(head, Chained)  # otherwise it proves nothing
            if not self._keys.had(found.by, found.key, head.height):
                continue
            what = found.in_words(chain.manifest.called)
            if found.key in revoked:
                what = f"by a key that was revoked since, and that a thief may have used: {what}"
                yield Finding(found.height, cid, REVOKED_PROMISE, what), None
            else:
                yield Finding(found.height, cid, BROKEN_PROMISE, what), found
        for cid, (term, height, leader) in self._in_doubt.items():
            name = chain.manifest.called(leader)
            what = (
                f"a member has confirmed height {height} in term {term} ({cid}), which {name} led and had voted to "
                f"leave before that height. That record is not here; a file from a member that has it shows if {name} "
                "signed it (peer export)"
            )
            yield Finding(height, cid, PROMISE_IN_DOUBT, what), None

    def broken(self) -> Iterator[BrokenPromise]:
        """The promises that were broken: of each key one by a record and one by an ack, those of the lowest terms."""
        for signer, said in self._said.items():
            found: set[bool] = set()
            for (is_ack, _), (place, record) in sorted(said.items(), key=lambda each: each[0]):
                if is_ack not in found and (proof := self._proof(signer, place, record)) is not None:
                    found.add(is_ack)
                    yield proof

    def _rules_out(self, member: bytes, place: HeadPlace) -> bool:
        votes = (vote for (by, _), of in self._votes.items() if by == member for vote in of.values())
        return any(_rules_out(*vote, place) for vote in votes)

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

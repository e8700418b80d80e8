"""A broken promise: a vote for a newer term, and beyond the head that it names a record of an older term by one key.

Heads are in Raft's order (Ongaro and Ousterhout, section 5.4.1): by term, then by height. A vote for term ``V`` that
names a head of term ``t`` at height ``h`` promises two things: its author has verified nothing above (t, h) of a term
below V, and from then on takes part in no term below V. So if the same key has signed a record of the run's chain, or
an ack, of a term below V and above (t, h), one of the two is not true. Whether the record was signed before the vote or
after it does not matter, so no clock is needed, and none could tell.

A record of a term below t proves nothing, however high it stands: it may be of a tail that was lost before the vote.
Nor does any beside a vote against a record that most servers contradict: its author leaves behind what it had verified,
and says so. Such a vote counts in a takeover alone that has the words of those servers.

The proof is the vote, the record, and the record block of the head, which tells the head's term. The vote vouches for
that block, so its own signature does not matter. A *proof block*, dag-cbor ``{"record": link, "vote": link}``, gives
the proof a name.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from crypto.dsse import BadSignature
from protocol.blocks.cid import CID, Block, BlockError, BlockSource, cbor_block, checked_block, decode_cbor
from protocol.records.bodies import Ack, Body, Chained, Vote
from protocol.records.equivocation import NoProof
from protocol.records.signed_records import Record, parse_record, record_block

HeadPlace = tuple[int, int]
"""The term and the height of a record: how new a head is."""


@dataclass(frozen=True, slots=True)
class BrokenPromise:
    """A vote and what its author signed against it, with one key."""

    key: bytes
    """The key, 32 bytes, that signed both. Only a manifest says whose it is."""
    vote: Record
    head: Record
    """The record that the vote names."""
    record: Record
    """A record of a chain, or an ack."""

    @property
    def by(self) -> bytes:
        """The member id that vote and record name as their author. Anybody with a key may claim any id."""
        return self.vote.body.by

    @property
    def run(self) -> CID:
        """The run that both belong to."""
        assert isinstance(self.vote.body, Vote)
        return self.vote.body.run

    @property
    def height(self) -> int:
        """The height of the record, or of the head that the ack names."""
        place = head_place(self.record.body)
        assert place is not None  # otherwise it proves nothing
        return place[1]

    def in_words(self, called: Callable[[bytes], str]) -> str:
        """What was promised and done, in a sentence. ``called`` gives what a member is called, quoted."""
        vote, record = self.vote.body, self.record.body
        assert isinstance(vote, Vote)
        name = called(self.by)
        did = "confirmed" if isinstance(record, Ack) else f"signed a {record.TYPE} at"
        place = head_place(record)
        assert place is not None  # otherwise it proves nothing
        return (
            f"{name} voted for {called(vote.candidate)} to lead in term {vote.term} from height {vote.height} on, and "
            f"{did} height {place[1]} in term {place[0]}: it went on in a term that it had promised to leave, or voted "
            f"for a head behind its own (vote {self.vote.cid}, {record.TYPE} {self.record.cid})"
        )

    def blocks(self) -> tuple[Block, Block, Block, Block]:
        """The proof block, the vote, the record and the head."""
        proof = cbor_block({"record": self.record.cid, "vote": self.vote.cid})
        return proof, record_block(self.vote), record_block(self.record), record_block(self.head)


def broken_promise(vote: Record, head: Record, record: Record) -> BrokenPromise | None:
    """The proof that the author of ``vote`` broke its promise; None if they do not prove it."""
    said, place, at = vote.body, head_place(record.body), head_place(head.body)
    if not isinstance(said, Vote) or said.head != head.cid or not isinstance(head.body, Chained):
        return None
    if said.against is not None:
        return None
    if place is None or at is None or not at < place or not place[0] < said.term:
        return None
    if said.run != run_of(record) or said.run != run_of(head):
        return None
    if said.by != record.body.by or vote.signers != record.signers:
        return None
    try:
        vote.check_signatures()
        record.check_signatures()
    except BadSignature:
        return None
    (key,) = vote.signers  # each has one signature
    return BrokenPromise(key, vote, head, record)


def read_broken_promise(block: Block, source: BlockSource) -> BrokenPromise:
    """The broken promise that a proof block proves. Everything that makes it a proof is checked here.

    Raises:
        protocol.records.equivocation.NoProof: if it proves nothing.
        protocol.blocks.cid.MissingBlock: if ``source`` lacks one of its records.
    """
    links = promise_links(block)
    if links is None:
        raise NoProof(f"{block.cid} is no map of two links, record and vote")
    vote, record = (_record(link, source) for link in links)
    if not isinstance(vote.body, Vote):
        raise NoProof(f"{vote.cid} is a {vote.body.TYPE}, not a vote")
    found = broken_promise(vote, _record(vote.body.head, source), record)
    if found is None:
        raise NoProof("its record is not one that the vote rules out, or a signature is wrong")
    return found


def promise_links(block: Block) -> tuple[CID, CID] | None:
    """The vote and the record that a proof block links; None if ``block`` is not one."""
    if block.cid.is_raw:
        return None
    match decode_cbor(block.data):
        case {"vote": CID() as vote, "record": CID() as record, **more} if not more:
            return vote, record
        case _:
            return None


def head_place(body: Body) -> HeadPlace | None:
    """The place of a record of a chain, or of the head that an ack names; None for all others."""
    match body:
        case Chained(term=term, height=height) | Ack(term=term, height=height):
            return term, height
        case _:
            return None


def run_of(record: Record) -> CID | None:
    """The run of such a record."""
    match record.body:
        case Chained(run=None):
            return record.cid
        case Chained(run=run) | Ack(run=run):
            return run
        case _:
            return None


def _record(link: CID, source: BlockSource) -> Record:
    data = source.get(link)
    try:
        return parse_record(checked_block(link, data))
    except BlockError as error:
        raise NoProof(f"{link} is no record: {error}") from error

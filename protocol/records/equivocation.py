"""Equivocation: one signer, one place, two words.

The two record blocks are the whole proof. Checking it takes no chain and no manifest, and anybody may pass it on. The
reader has to look up whether the key was a member's. A *proof block*, dag-cbor ``{"first": link, "second": link}``,
gives the two a name.
"""

from __future__ import annotations

from dataclasses import dataclass

from crypto.dsse import BadSignature
from protocol.blocks.cid import CID, Block, BlockError, BlockSource, cbor_block, checked_block, decode_cbor, encode_cbor
from protocol.records.bodies import Ack, Body, Chained, Reply, Vote
from protocol.records.signed_records import Record, body_value, parse_record, record_block

Place = tuple[CID, int, int] | tuple[CID, bytes] | tuple[CID, str, int, int] | tuple[CID, str, int]
"""Where a signer may say one thing only: in run, term and height; run and message; run, ``ack``, term and height; or
run, ``vote`` and term."""


@dataclass(frozen=True, slots=True)
class Equivocation:
    """Two records at one place that do not say the same, by one author and signed with one key."""

    key: bytes
    """The key, 32 bytes, that signed both. Only a manifest says whose it is."""
    place: Place
    first: Record
    """The record with the lower id, so that both orders give the same proof."""
    second: Record

    @property
    def by(self) -> bytes:
        """The member id that both records name as their author. Anybody with a key may claim any id."""
        return self.first.body.by

    @property
    def run(self) -> CID:
        """The run that both records belong to."""
        return self.place[0]

    def blocks(self) -> tuple[Block, Block, Block]:
        """The proof block, and the two that it links."""
        proof = cbor_block({"first": self.first.cid, "second": self.second.cid})
        return proof, record_block(self.first), record_block(self.second)


class NoProof(BlockError):
    """A block that proves nothing."""


def read_proof(block: Block, source: BlockSource) -> Equivocation:
    """The equivocation that a proof block proves. Everything that makes it a proof is checked here.

    Raises:
        NoProof: if it proves nothing.
        protocol.blocks.cid.MissingBlock: if ``source`` lacks one of its records.
    """
    links = proof_links(block)
    if links is None:
        raise NoProof(f"{block.cid} is no map of two links, first and second")
    records: list[Record] = []
    for link in links:
        data = source.get(link)
        try:
            records.append(parse_record(checked_block(link, data)))
        except BlockError as error:
            raise NoProof(f"{link} is no record: {error}") from error
    found = equivocation(*records)
    if found is None:
        raise NoProof("its records are not two of one signer's at one place, or a signature is wrong")
    if found.first.cid != links[0]:
        raise NoProof("its first record is not the one with the lower id")
    return found


def proof_links(block: Block) -> tuple[CID, CID] | None:
    """The two records that a proof block links; None if ``block`` is not one."""
    if block.cid.is_raw:
        return None
    match decode_cbor(block.data):
        case {"first": CID() as first, "second": CID() as second, **more} if not more:
            return first, second
        case _:
            return None


def equivocation(a: Record, b: Record) -> Equivocation | None:
    """The proof that the signer of both records equivocated; None if they do not prove it.

    Saying the same twice is no equivocation, with one key or with two (`says_the_same`).
    """
    place = place_of(a)
    if place is None or place != place_of(b) or a.body.by != b.body.by or a.signers != b.signers:
        return None
    if says_the_same(a, b):
        return None
    try:
        a.check_signatures()
        b.check_signatures()
    except BadSignature:
        return None
    first, second = sorted((a, b), key=lambda record: record.id)
    (key,) = first.signers  # a record with a place has one signature
    return Equivocation(key, place, first, second)


def says_the_same(a: Record, b: Record) -> bool:
    """Whether two records at one place say one thing.

    Their bodies are the same, but for the ``time`` of replies and votes, and the ``dispatch`` of replies. A takeover
    may lose the dispatch that a client has answered. Then the client signs its reply anew for the one that sends the
    same message, by its id. All else stays, ciphertexts and the sealed key too, because they are bound to the message
    and not to the dispatch. So nobody can use a takeover to give another answer.
    """
    return a.id == b.id or _word(a.body) == _word(b.body)


def _word(body: Body) -> bytes:
    said = body_value(body)
    match body:
        case Reply():
            del said["time"], said["dispatch"]
        case Vote():
            del said["time"]
        case _:
            pass
    return encode_cbor(said)


def place_of(record: Record) -> Place | None:
    """The place of a record; None for records that may differ.

    A run record has no place, because two of them begin two runs. Nor has a manifest: its admins may sign two
    proposals.
    """
    match record.body:
        case Reply(run=run, message=message):
            return (run, message)
        case Ack(run=run, term=term, height=height):
            return (run, Ack.TYPE.value, term, height)
        case Vote(run=run, term=term):
            return (run, Vote.TYPE.value, term)
        case Chained(run=CID() as run, term=term, height=height):
            return (run, term, height)
        case _:
            return None

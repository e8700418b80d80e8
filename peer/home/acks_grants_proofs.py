"""What belongs to a run, but not to its chain: grants, acks, votes that no takeover links, and proofs of equivocation.

A home keeps them in its journal. An export has them as further roots, after the head. There may be many acks, so they
are then one root, a listing (`protocol.blocks.listing`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from peer.home.home import Home
from peer.home.journal import Journal
from protocol.blocks.cid import CID, Block, BlockError, BlockSource, decode_cbor
from protocol.blocks.listing import Listing, pack
from protocol.records.bodies import Ack, Grant, Vote
from protocol.records.equivocation import proof_links
from protocol.records.signed_records import RecordError, parse_record, read_chained

Proof = tuple[Block, Block, Block]
"""A proof block and the two records that it links."""

MANY: Final = 256
"""The most acks that are roots themselves."""


@dataclass(frozen=True, slots=True)
class AcksGrantsProofs:
    """What is beside the chain of one run. None of it is checked yet."""

    grants: tuple[Block, ...] = ()
    acks: tuple[Block, ...] = ()
    proofs: tuple[Proof, ...] = ()
    votes: tuple[Block, ...] = ()
    """Votes that no takeover of the chain need link."""

    def and_of(self, other: AcksGrantsProofs) -> AcksGrantsProofs:
        """The union of the two."""
        return AcksGrantsProofs(
            tuple(dict.fromkeys((*self.grants, *other.grants))),
            tuple(dict.fromkeys((*self.acks, *other.acks))),
            tuple({proof[0].cid: proof for proof in (*self.proofs, *other.proofs)}.values()),
            tuple(dict.fromkeys((*self.votes, *other.votes))),
        )

    def roots(self) -> list[CID]:
        """The roots of an export after the head."""
        listing, _ = self._listing()
        acks = [block.cid for block in self.acks] if listing is None else [listing]
        others = (*self.votes, *(proof[0] for proof in self.proofs))
        return [*(block.cid for block in self.grants), *acks, *(block.cid for block in others)]

    def cids(self) -> frozenset[CID]:
        """The CIDs of all of it, except the records that a proof links."""
        proofs = (proof[0] for proof in self.proofs)
        return frozenset(block.cid for block in (*self.grants, *self.acks, *self.votes, *proofs))

    def statements(self) -> Iterator[Block]:
        """The acks, the votes, and the proofs with their records. Whatever else these link is not looked at."""
        yield from self._listing()[1]
        yield from self.acks
        yield from self.votes
        for proof in self.proofs:
            yield from proof

    def keep(self, journal: Journal, run: CID) -> None:
        """Keep all of it in the journal."""
        journal.keep_beside(run, (*self.grants, *self.acks, *self.votes))
        for proof in self.proofs:
            journal.keep_proof(run, proof)

    def _listing(self) -> tuple[CID | None, list[Block]]:
        if len(self.acks) <= MANY:
            return None, []
        listing, blocks = pack([block.cid for block in self.acks], in_place=0)
        return listing.link, blocks


NOTHING = AcksGrantsProofs()


def beside_here(home: Home, run: CID) -> AcksGrantsProofs:
    """What this home has beside the chain of ``run``."""
    if not home.journal.exists():
        return NOTHING
    with Journal(home.journal) as journal:
        return _sorted_out(journal.beside(run), journal.proofs(run))


def run_named(head: CID, source: BlockSource) -> CID:
    """The run that the record ``head`` is in.

    Raises:
        BlockError: if it is not a record of a chain, or cannot be read.
    """
    return read_chained(head, source).run or head


def beside_head(home: Home, head: CID, source: BlockSource) -> AcksGrantsProofs:
    """What this home has beside the chain of ``head``. Nothing if the head is wrong: reading it will say so."""
    try:
        return beside_here(home, run_named(head, source))
    except BlockError:
        return NOTHING


def beside_of(roots: Sequence[CID], source: BlockSource) -> AcksGrantsProofs:
    """What the further roots of an export name.

    Raises:
        BlockError: if one is neither a record beside a chain nor a proof, or is not here.
    """
    records: list[Block] = []
    proofs: list[Proof] = []
    for cid in roots:
        block = Block(cid, source.get(cid))
        if (links := proof_links(block)) is not None:
            first, second = (Block(link, source.get(link)) for link in links)
            proofs.append((block, first, second))
        elif _is_listing(block):
            records += [Block(link, source.get(link)) for link in Listing(cid).items(source)]
        else:
            records.append(block)
    return _sorted_out(records, proofs)


def _sorted_out(records: Sequence[Block], proofs: Sequence[Proof]) -> AcksGrantsProofs:
    grants: list[Block] = []
    acks: list[Block] = []
    votes: list[Block] = []
    for block in records:
        match parse_record(block).body:
            case Grant():
                grants.append(block)
            case Ack():
                acks.append(block)
            case Vote():
                votes.append(block)
            case other:
                raise RecordError(f"{block.cid} is a {other.TYPE}, which does not belong beside a run")
    return AcksGrantsProofs(tuple(grants), tuple(acks), tuple(proofs), tuple(votes))


def _is_listing(block: Block) -> bool:
    return not block.cid.is_raw and isinstance(value := decode_cbor(block.data), dict) and value.keys() == _ROOT


_ROOT: Final = {"count", "leaves"}

"""What belongs to a run and is not in its chain: grants, acks, and proofs of equivocation.

A home keeps them in its journal; an export has grants, acks and proofs as further roots, after the head.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from peer.home import Home
from peer.journal import Journal
from protocol.blocks import CID, Block, BlockError, BlockSource
from protocol.equivocation import proof_links
from protocol.records import Grant
from protocol.signed import parse_record

Proof = tuple[Block, Block, Block]
"""A proof block and the two records that it links."""


@dataclass(frozen=True, slots=True)
class Beside:
    """What is beside one run; none of it is checked yet."""

    records: tuple[Block, ...] = ()
    """Grants."""
    proofs: tuple[Proof, ...] = ()

    @property
    def roots(self) -> list[CID]:
        """What an export names besides the head."""
        return [block.cid for block in (*self.records, *(proof[0] for proof in self.proofs))]

    def statements(self) -> Iterator[Block]:
        """The proofs, each with its two records: what else those link is not looked at."""
        for proof in self.proofs:
            yield from proof

    def keep(self, journal: Journal, run: CID) -> None:
        """Keep it with the run."""
        journal.keep_beside(run, self.records)
        for proof in self.proofs:
            journal.keep_proof(run, proof)


NOTHING = Beside()


def beside_here(home: Home, run: CID) -> Beside:
    """What this home has beside ``run``."""
    if not home.journal.exists():
        return NOTHING
    with contextlib.closing(Journal(home.journal)) as journal:
        return Beside(tuple(journal.beside(run)), tuple(journal.proofs(run)))


def beside_of(roots: Sequence[CID], source: BlockSource) -> Beside:
    """What the further roots of an export name.

    Raises:
        BlockError: where one is neither a record beside a chain nor a proof, or is not here.
    """
    records: list[Block] = []
    proofs: list[Proof] = []
    for cid in roots:
        block = Block(cid, source.get(cid))
        if (links := proof_links(block)) is not None:
            first, second = (Block(link, source.get(link)) for link in links)
            proofs.append((block, first, second))
        elif isinstance(parse_record(block).body, Grant):
            records.append(block)
        else:
            raise BlockError(f"{cid} is no record beside a run")
    return Beside(tuple(records), tuple(proofs))

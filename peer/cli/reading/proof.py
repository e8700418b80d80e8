"""``peer audit PROOF``: a proof of equivocation, checked on its own."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from peer.audit.lookup import Lookup
from peer.audit.proof import CheckedProof, check_proof
from peer.base.errors import ExitCode, PeerError
from peer.base.terminal import put
from peer.cli.output import bad, put_fields
from peer.history.named import cid_of
from peer.history.sources import CarSource
from peer.home.federations import StoredFederation
from peer.home.journal import Journal
from protocol.blocks.cid import CID, MAX_BLOCK_SIZE, Block, BlockError, BlockSource, MemoryBlocks, MissingBlock
from protocol.records.equivocation import proof_links
from protocol.visible import named, quoted

MAX_FILE: Final = 4 * MAX_BLOCK_SIZE
"""Bytes of a CAR file that can be a proof's: it has three blocks."""


def proof_in_file(file: Path, known: Sequence[StoredFederation]) -> CheckedProof | None:
    """The proof that a CAR file's root is; None where it is something else.

    Raises:
        PeerError: where it is one by its shape, and proves nothing.
    """
    if not file.is_file() or file.stat().st_size > MAX_FILE:
        return None
    with contextlib.closing(CarSource(file)) as car:
        return _proof(car.roots[0], car, known) if len(car.roots) == 1 else None


def proof_named(text: str, lookup: Lookup, known: Sequence[StoredFederation]) -> CheckedProof | None:
    """The proof of this CID, kept in this home or in an engine; None where it is of something else.

    Raises:
        PeerError: as `proof_in_file`.
    """
    cid = cid_of(text)
    if lookup.home.journal.exists():
        with contextlib.closing(Journal(lookup.home.journal)) as journal:
            if journal.head_of(cid) or journal.run_of(cid):
                return None
            kept = next((proof for proof in journal.proofs() if proof[0].cid == cid), None)
        if kept is not None:
            return _proof(cid, MemoryBlocks({block.cid: block.data for block in kept}), known)
    with lookup.blocks() as source:
        return _proof(cid, source, known)


def _proof(cid: CID, source: BlockSource, known: Sequence[StoredFederation]) -> CheckedProof | None:
    try:
        block = Block(cid, source.get(cid))
        if proof_links(block) is None:
            return None
    except BlockError:
        return None  # an audit says what is wrong with it
    try:
        return check_proof(block, source, known)
    except MissingBlock as error:
        raise PeerError(
            f"the proof {cid} is not whole here: {error}",
            fix="name the engine that has its records with --ipfs ENGINE",
            code=ExitCode.UNFINISHED,
        ) from error
    except BlockError as error:
        raise PeerError(
            f"{cid} is no proof of equivocation: {error}",
            fix="nothing is shown about anybody; a run is audited by its head: peer log shows those of this home",
            code=ExitCode.WRONG_USE,
        ) from error


def put_proof(proof: CheckedProof) -> None:
    """Print a proof that holds."""
    put_fields(_fields(proof))
    put(bad("equivocation: one signer has signed both records, and may say one thing only at this place"))


def _fields(proof: CheckedProof) -> Iterator[tuple[str, str]]:
    yield "proof", str(proof.cid)
    yield "member", " ".join([proof.who, *(f"({named(name)})" for name in proof.names)])
    yield "signed by", proof.signer
    yield "place", ", ".join(f"{name} {value}" for name, value in proof.place.items())
    for name, record in (("first", proof.found.first), ("second", proof.found.second)):
        yield name, f"{record.cid}, a {record.body.TYPE}"
    for each in proof.differences():
        yield "differs in", f"{named(each.field)}: {_value(each.first)} | {_value(each.second)}"


def _value(text: str) -> str:
    return quoted(text) if text else "none"

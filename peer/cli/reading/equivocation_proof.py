"""``peer audit PROOF``: show a proof of equivocation."""

from __future__ import annotations

from collections.abc import Iterator

from peer.audit.equivocation_proof import CheckedProof
from peer.base.terminal import put
from peer.cli.output import bad, put_fields
from protocol.visible import named, quoted


def put_proof(proof: CheckedProof) -> None:
    """Print a proof that holds."""
    put_fields(_fields(proof))
    put(bad("equivocation: one key has signed both records, but a place has only one"))


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

"""``peer audit PROOF``: show a proof of equivocation, or of a broken promise."""

from __future__ import annotations

from collections.abc import Iterator

from peer.audit.equivocation_proof import CheckedProof
from peer.audit.terms.promise_proof import CheckedPromise
from peer.base.terminal import put
from peer.cli.output import bad, put_fields
from protocol.visible import named, quoted


def put_proof(proof: CheckedProof | CheckedPromise) -> None:
    """Print a proof that holds."""
    if isinstance(proof, CheckedPromise):
        put_fields(_promise_fields(proof))
        put(bad("broken promise: the key that signed the vote has signed what the vote rules out"))
        return
    put_fields(_fields(proof))
    put(bad("equivocation: one key has signed both records, but a place has only one"))


def _promise_fields(proof: CheckedPromise) -> Iterator[tuple[str, str]]:
    yield from _whose(proof)
    yield "run", str(proof.found.run)
    vote, head, (term, height) = proof.vote, proof.head, proof.place
    yield (
        "vote",
        f"{proof.found.vote.cid}, for term {vote.term}, to go on after height {head.height} of term {head.term}",
    )
    yield "promised", f"to have verified nothing newer than that of a term below {vote.term}, and to go on in none"
    yield "signed", f"{proof.found.record.cid}, a {proof.found.record.body.TYPE}: height {height} of term {term}"


def _whose(proof: CheckedProof | CheckedPromise) -> Iterator[tuple[str, str]]:
    yield "proof", str(proof.cid)
    yield "member", " ".join([proof.signer.member, *(f"({named(name)})" for name in proof.signer.names)])
    yield "signed by", proof.signer.key


def _fields(proof: CheckedProof) -> Iterator[tuple[str, str]]:
    yield from _whose(proof)
    yield "place", ", ".join(f"{name} {value}" for name, value in proof.place.items())
    for name, record in (("first", proof.found.first), ("second", proof.found.second)):
        yield name, f"{record.cid}, a {record.body.TYPE}"
    for each in proof.differences():
        yield "differs in", f"{named(each.field)}: {_value(each.first)} | {_value(each.second)}"


def _value(text: str) -> str:
    return quoted(text) if text else "none"

"""Equivocation: one signer, one place, two records (design section 7).

The two record blocks are the whole proof: no chain and no manifest is needed to check it, and anybody may carry it.
Whether the key was a member's is for the reader to look up.
"""

from __future__ import annotations

from dataclasses import dataclass

from crypto.dsse import BadSignature
from protocol.blocks import CID
from protocol.records import Chained, Reply
from protocol.signed import Record

Place = tuple[CID, int, int] | tuple[CID, bytes]
"""Where a signer may say one thing only: run, term and height; or run and message."""


@dataclass(frozen=True, slots=True)
class Equivocation:
    """Two valid records by one signer at one place."""

    signer: bytes
    """The signing key, 32 bytes."""
    place: Place
    first: Record
    """The one whose id is the lower; so both orders give one proof."""
    second: Record


def equivocation(a: Record, b: Record) -> Equivocation | None:
    """The proof that a signer of both records equivocated; None where none did, or a signature is wrong.

    Signing one body twice, or adding a signature to it, is no equivocation: the body's id is compared.
    """
    place = place_of(a)
    if place is None or place != place_of(b) or a.id == b.id or a.body.by != b.body.by:
        return None
    try:
        signers = a.valid_signers() & b.valid_signers()
    except BadSignature:
        return None
    if not signers:
        return None
    first, second = sorted((a, b), key=lambda record: record.id)
    return Equivocation(min(signers), place, first, second)


def place_of(record: Record) -> Place | None:
    """The place of a record that has one.

    A run record has none: two of them begin two runs. Nor has a manifest: its admins may well sign two drafts.
    """
    match record.body:
        case Reply(run=run, message=message):
            return (run, message)
        case Chained(run=CID() as run, term=term, height=height):
            return (run, term, height)
        case _:
            return None

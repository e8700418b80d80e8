"""Equivocation: one signer, one place, two records (design section 7)."""

from __future__ import annotations

from dataclasses import dataclass

from protocol.records import Record


@dataclass(frozen=True, slots=True)
class Equivocation:
    """A proof that needs nothing but the two records."""

    signer: bytes
    """The signing key."""
    place: str
    """For people."""
    first: Record
    second: Record


def equivocation(a: Record, b: Record) -> Equivocation | None:
    """The proof that the signer of both records equivocated, None where it did not."""
    raise NotImplementedError

"""Whom a peer does not follow any more: signers of two records at one place.

A key is distrusted, not a member: where the admins give the member another one (`peer keys rotate`), it may begin anew.
"""

from __future__ import annotations

from collections.abc import Iterable

from protocol.blocks import CID
from protocol.equivocation import Equivocation
from protocol.manifest import Manifest, node_id
from protocol.records import Member


class Distrust:
    """The keys that signed two records at one place, and the proofs."""

    def __init__(self, proofs: Iterable[Equivocation] = ()) -> None:
        self._proofs: dict[tuple[bytes, bytes], CID] = {}
        """By the member that is named and the key that signed: only together do they say anything of anybody."""
        for found in proofs:
            self.learn(found)

    def learn(self, found: Equivocation) -> None:
        """Distrust the member that both name, as long as the key that signed both is its own."""
        self._proofs.setdefault((found.by, found.key), found.blocks()[0].cid)

    def proof_against(self, member: Member | None) -> CID | None:
        """The proof against the key that a manifest gives to ``member``."""
        return None if member is None else self._proofs.get((member.id, member.signing))

    def nodes(self, manifest: Manifest) -> frozenset[int]:
        """The nodes of the members that are distrusted."""
        if not self._proofs:
            return frozenset()
        return frozenset(node_id(member.id) for member in manifest.members.values() if self.proof_against(member))


def why_distrusted(name: str, proof: CID) -> str:
    """In words, for notes and for the reasons that a collect records."""
    return f"{name} has signed two different records at one place: peer audit {proof}"

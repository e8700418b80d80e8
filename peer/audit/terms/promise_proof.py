"""A proof of a broken promise, checked on its own: who voted for what, and what the same key signed against it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from crypto.keys import VerifyKey
from peer.audit.equivocation_proof import ProvenSigner, proven_signer
from peer.home.federations import StoredFederation
from protocol.blocks.cid import CID, Block, BlockSource
from protocol.records.bodies import Chained, Vote
from protocol.records.broken_promises import BrokenPromise, head_place, read_broken_promise


@dataclass(frozen=True, slots=True)
class CheckedPromise:
    """A proof that holds."""

    cid: CID
    found: BrokenPromise
    signer: ProvenSigner

    @property
    def vote(self) -> Vote:
        """What was promised."""
        assert isinstance(self.found.vote.body, Vote)
        return self.found.vote.body

    @property
    def head(self) -> Chained:
        """The record after which the term that was voted for was to begin."""
        assert isinstance(self.found.head.body, Chained)
        return self.found.head.body

    @property
    def place(self) -> tuple[int, int]:
        """The term and the height of what was signed against it."""
        place = head_place(self.found.record.body)
        assert place is not None  # otherwise it proves nothing
        return place

    def value(self) -> dict[str, Any]:
        """As ``--json`` shows it."""
        (term, height), record = self.place, self.found.record
        return {
            "proof": str(self.cid),
            "verdict": "broken-promise",
            **self.signer.value(),
            "run": str(self.found.run),
            "vote": {
                "cid": str(self.found.vote.cid),
                "term": self.vote.term,
                "candidate": VerifyKey(self.vote.candidate).did,
                "head": str(self.vote.head),
                "head_term": self.head.term,
                "head_height": self.head.height,
            },
            "record": {
                "cid": str(record.cid),
                "type": record.body.TYPE.value,
                "term": term,
                "height": height,
            },
        }


def check_promise(block: Block, source: BlockSource, known: Sequence[StoredFederation]) -> CheckedPromise:
    """Check a proof, and that the key which signed both records belongs to the member that they name, as
    `peer.audit.equivocation_proof.check_proof` does.

    Raises:
        BlockError: if it proves nothing about that member, or one of its records is not here.
    """
    found = read_broken_promise(block, source)
    return CheckedPromise(block.cid, found, proven_signer(found, known))

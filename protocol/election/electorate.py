"""Who decides who leads a run."""

from __future__ import annotations

from dataclasses import dataclass

from protocol.blocks.cid import CID
from protocol.federation.voters import majority_of


@dataclass(frozen=True, slots=True)
class Electorate:
    """Who decides, by the manifest that is in force after a head."""

    manifest: CID
    voters: frozenset[bytes]
    candidates: frozenset[bytes]
    """The servers, be they voters or not."""

    @property
    def majority(self) -> int:
        """How many voters are a strict majority."""
        return majority_of(self.voters)

    def is_majority(self, members: frozenset[bytes]) -> bool:
        """Whether ``members`` has a strict majority of the voters."""
        return len(members & self.voters) >= self.majority

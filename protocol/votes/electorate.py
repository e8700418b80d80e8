"""Who decides who leads a run.

A roster may change who votes. Then more than half of the voters before it have to agree too, as while Raft's members
change (joint consensus, Ongaro's dissertation, section 4.3): of two majorities, one by the voters before the roster and
one by those after it, none else need have a member in common.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple, TypeVar

from protocol.blocks.cid import CID
from protocol.federation.voters import majority_of

T = TypeVar("T", int, tuple[int, int])


class Count(NamedTuple):
    """How many of some voters agree, for people."""

    here: int
    voters: int
    needed: int


@dataclass(frozen=True)  # no slots: what follows from it is computed once
class Electorate:
    """Who decides, by the manifest that is in force after a head, and by the one before the newest roster."""

    manifest: CID
    voters: frozenset[bytes]
    candidates: frozenset[bytes]
    """The servers, be they voters or not."""
    before: frozenset[frozenset[bytes]] = frozenset()
    """The voters before the newest roster, if they are asked too (`protocol.federation.voters.voters_before`). An audit
    may have to count voters of still earlier rosters."""

    @cached_property
    def parts(self) -> tuple[frozenset[bytes], ...]:
        """The sets of voters of each of which it takes a strict majority: those of now first."""
        return (self.voters, *sorted(self.before, key=sorted))

    @cached_property
    def all(self) -> frozenset[bytes]:
        """Everybody who has a vote."""
        return self.voters.union(*self.before)

    def is_majority(self, members: frozenset[bytes]) -> bool:
        """Whether ``members`` has a strict majority of the voters, and of those before."""
        return all(len(members & part) >= majority_of(part) for part in self.parts)

    def least_of_a_majority(self, reported: Mapping[bytes, T]) -> T | None:
        """The least value at or below which a majority has reported; None if too few have. One that reports what is not
        so counts for nothing then, unless no majority is without it."""
        so_far: set[bytes] = set()
        for by in sorted(reported, key=lambda each: reported[each]):
            so_far.add(by)
            if self.is_majority(frozenset(so_far)):
                return reported[by]
        return None

    def count(self, members: frozenset[bytes]) -> Count:
        """How many of ``members`` vote: among the first voters of which they are no majority, or among those of now."""
        counts = [Count(len(members & part), len(part), majority_of(part)) for part in self.parts]
        return next((each for each in counts if each.here < each.needed), counts[0])

"""Fetched records that wait to be verified, each with what that takes."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from typing import Final

from protocol.blocks.cid import CID

HELD_BYTES: Final = 32 << 20
"""Fetched blocks kept in memory; what falls out is fetched again."""

CLAIM_BYTES: Final = 4 << 20
"""Fetched blocks that are kept in memory of a way that a member claims to have."""

CLAIMS_KEPT: Final = 4
"""Ways of so many members are kept while nobody looks into them. Each member may say that it has one."""


class HeldRecords:
    """Bounded: the oldest falls out."""

    def __init__(self, most: int = HELD_BYTES) -> None:
        """``most`` bytes are kept, and one record in any case."""
        self._most = most
        self._held: OrderedDict[CID, Mapping[CID, bytes]] = OrderedDict()
        self._bytes = 0

    def __contains__(self, cid: CID) -> bool:
        return cid in self._held

    def get(self, cid: CID) -> Mapping[CID, bytes] | None:
        """The blocks of a record; None if they are not here."""
        return self._held.get(cid)

    def hold(self, cid: CID, blocks: Mapping[CID, bytes]) -> None:
        """Keep a record and what it takes to verify it."""
        if cid in self._held:
            return
        self._held[cid] = blocks
        self._bytes += sum(map(len, blocks.values()))
        while self._bytes > self._most and len(self._held) > 1:
            self.drop(next(iter(self._held)))

    def take_all(self, other: HeldRecords) -> None:
        """Keep what another has held."""
        for cid, blocks in other._held.items():
            self.hold(cid, blocks)

    def drop(self, cid: CID) -> None:
        """A record is not needed any more."""
        self._bytes -= sum(map(len, self._held.pop(cid).values()))


class ClaimedRecords:
    """What was fetched of claims that one record was missing to: the next claim of the same member goes on from there.
    Otherwise a way of many records would never be whole where each is to be had only now and then."""

    def __init__(self) -> None:
        self._of: OrderedDict[bytes, HeldRecords] = OrderedDict()
        """By member, the newest last."""

    def take(self, member: bytes) -> HeldRecords:
        """What is kept of a member's claims. It is kept no longer, unless it is put aside again."""
        return self._of.pop(member, None) or HeldRecords(CLAIM_BYTES)

    def put_aside(self, member: bytes, held: HeldRecords) -> None:
        """Nobody looks into the member's claim now."""
        self._of[member] = held
        if len(self._of) > CLAIMS_KEPT:
            self._of.popitem(last=False)

    def forget(self) -> None:
        """What was claimed is overtaken."""
        self._of.clear()

"""Fetched records that wait to be verified, each with what that takes."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from typing import Final

from protocol.blocks.cid import CID

HELD_BYTES: Final = 32 << 20
"""Fetched blocks kept in memory; what falls out is fetched again."""


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

"""The way from an announced head back to what is verified.

It is walked hop by hop. At each hop the height falls by one, the term does not rise, the run is the same and a server
signed. From an index record the walk jumps over the records it links. Only CIDs are kept of what lies between, so that
memory stays small however long the chain.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from crypto.dsse import BadSignature
from protocol.blocks.cid import CID
from protocol.chain.chain import Chain
from protocol.federation.manifest import Manifest
from protocol.records.bodies import Chained, Index, Role
from protocol.records.signed_records import Record, WellSigned
from protocol.wire.announcements import Position

MAX_BEHIND: Final = 1 << 20
"""How many records may lie between a head and what is known: walking back takes memory for a CID each."""


class Lost(Exception):
    """A head that cannot be followed: it does not lead to what is known, or breaks a rule. The message says why."""


class Forked(Lost):
    """A head that leads around the newest record we have verified: another record, ``theirs``, is in its place."""

    def __init__(self, ours: CID, theirs: CID, height: int) -> None:
        super().__init__(f"the record at height {height + 1} does not follow the one known at {height}")
        self.ours = ours
        self.theirs = theirs


class WalkBack:
    """One way back. `next` is the record to look at, until `start` is found; then `path` leads forward."""

    def __init__(self, target: Position, longest: int = MAX_BEHIND) -> None:
        """``longest`` is how many records the way may have."""
        self.target = target
        self.path = [target.head]
        """From the target back, newest first."""
        self.start: Chain | None = None
        """The verified chain that the way goes on from; None while it is looked for."""
        self._from: tuple[int, CID | None] = (-1, None)
        """Its height and head then: it may go on meanwhile."""
        self._longest = longest
        self._height = target.height
        """That the record at the end of the path should have."""
        self._term = target.term

    def at(self, height: int) -> CID | None:
        """The record of the way at a height, once it has its `start`; None if the way has none there."""
        above = height - self._from[0]
        return self.path[-above] if 0 < above <= len(self.path) else None

    def is_over(self, chain: Chain) -> bool:
        """Whether the way, which has its `start`, leads over the head of a chain."""
        return (chain.height, chain.head) == self._from or (
            chain.head is not None and self.at(chain.height) == chain.head
        )

    @property
    def next(self) -> CID:
        """The record at the end of the path."""
        return self.path[-1]

    def look(self, record: Record, starts: Mapping[int, Chain], manifest: Manifest, well_signed: WellSigned) -> None:
        """Take the hop at the end of the path. ``starts`` are the chains that the way may go on from, by height, the
        newest first; ``manifest`` is the newest known.

        Raises:
            Forked: the way leads around all of them.
            Lost: it cannot be followed.
        """
        body = self._checked(record, manifest, well_signed)
        before = body.height - 1
        ours = starts.get(before)
        if ours is not None and ours.head == body.prev:
            self.start, self._from = ours, (before, ours.head)
            return
        below = next((height for height in starts if height < before), None)
        if below is None:
            assert ours is not None  # the lowest is reached
            assert ours.head is not None
            assert body.prev is not None
            raise Forked(ours.head, body.prev, before)
        self._term = body.term
        if isinstance(body, Index) and body.records and body.records[-1] == body.prev:
            self._jump(body, below + 1)
        else:
            assert body.prev is not None
            self.path.append(body.prev)
            self._height = before
        if len(self.path) > self._longest:
            raise Lost(f"it is more than {self._longest} records ahead of what is known")

    def _checked(self, record: Record, manifest: Manifest, well_signed: WellSigned) -> Chained:
        body = record.body
        if not isinstance(body, Chained):
            raise Lost(f"{record.cid} is a {body.TYPE}, which is in no chain")
        if body.height != self._height or (body.prev is None) != (body.height == 0):
            raise Lost(f"{record.cid} claims height {body.height}, and {self._height} is next")
        if body.term > self._term or (len(self.path) == 1 and body.term != self._term):
            raise Lost(f"{record.cid} claims term {body.term}, and {self._term} was claimed for it")
        if (body.run or record.cid) != self.target.run:
            raise Lost(f"{record.cid} is of another run")
        leader = manifest.members.get(body.by)
        if leader is None or Role.SERVER not in leader.roles:
            raise Lost(f"{record.cid} is by no server")
        try:
            record.check_signatures(well_signed)
        except BadSignature as error:
            raise Lost(f"{record.cid}: {error}") from error
        return body

    def _jump(self, index: Index, known: int) -> None:
        """Go on from the oldest record that an index links, or from the one at height ``known``."""
        first = index.height - len(index.records)
        links = index.records[max(0, known - first) :]
        self.path.extend(reversed(links))
        self._height = max(first, known)

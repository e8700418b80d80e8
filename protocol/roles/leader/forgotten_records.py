"""A leader's own newer records, which members have verified and its home has forgotten: a copy of it was restored.

A member's word alone counts for nothing. What it names is fetched, has to be signed with our key and to follow from our
chain by every rule; a word that comes to nothing keeps nobody waiting a second time.
"""

from __future__ import annotations

from collections.abc import Mapping

from crypto.dsse import BadSignature
from protocol.blocks.cid import CID, Block, BlockError
from protocol.chain.chain import Step
from protocol.records.bodies import Chained
from protocol.records.signed import parse_record
from protocol.roles.catch_up import CatchUp, Lost
from protocol.roles.leader.writer import Writer
from protocol.roles.newest_manifest import NewestManifest
from protocol.wire.announcements import Position


class Rival(Exception):
    """A record of ours that cannot be taken up any more, as another one of ours is in its place."""


class TakingUp:
    """The way from what members say to records that were appended to the writer's chain."""

    def __init__(self, writer: Writer, newest: NewestManifest) -> None:
        self._writer = writer
        self._chain = writer.chain
        self._newest = newest
        self.claims: dict[bytes, Position] = {}
        """What members say that they have, and we do not."""
        self._false: set[tuple[bytes, CID]] = set()
        """Whose word for which head has come to nothing."""
        self._ahead: CatchUp | None = None
        self._claimant = b""
        self.is_storing = False
        """Whether records that were taken up are on their way to disk."""
        self.fetching: set[CID] = set()

    @property
    def holds(self) -> bool:
        """Whether nothing is to be appended: members may have newer records of ours, or some go to disk now."""
        return self.is_storing or (bool(self.claims) and not self._writer.has_signed)

    def told(self, member: bytes, position: Position | None) -> None:
        """A member says how far it has verified, or heard of, a run."""
        chain = self._chain
        if chain.head is None or chain.closed or position is None or position.run != chain.run:
            return
        if position.height > chain.height and (member, position.head) not in self._false:
            self.claims[member] = position

    def wanted(self) -> tuple[CID, ...]:
        """The records to fetch now."""
        if self._ahead is None and self.claims:
            # the lowest first: who lies about the highest keeps us from nothing that others have
            self._claimant, position = min(self.claims.items(), key=lambda claim: claim[1].height)
            newest = self._newest
            self._ahead = CatchUp(self._chain.run, newest.author.member, newest.manifest, newest.blocks, self._chain)
            self._ahead.hear(position, ())
        return () if self._ahead is None else self._ahead.wanted()

    def fetched(self, cid: CID, blocks: Mapping[CID, bytes]) -> None:
        """A wanted record, and what it needs, is here.

        Raises:
            Rival: it is ours, and we have signed others in its place since.
        """
        if self._ahead is None or cid not in self._ahead.wanted():
            return
        if not self._is_ours(Block(cid, blocks[cid])):
            self.lost(cid)
        elif self._writer.has_signed:
            raise Rival(f"a member has verified record {cid}, which we signed, and which this home does not have")
        else:
            self._ahead.fetched(cid, blocks)

    def lost(self, cid: CID) -> None:
        """A wanted record cannot be had, or is none of ours."""
        if self._ahead is not None and cid in self._ahead.wanted():
            self._give_up()

    def steps(self) -> list[tuple[Step, Mapping[CID, bytes]]]:
        """What can be appended now, and is: each record with the blocks it was checked with."""
        steps: list[tuple[Step, Mapping[CID, bytes]]] = []
        if self._ahead is not None:
            self._ahead.manifest = self._newest.manifest
            try:
                for step in self._ahead.steps():
                    steps.append(step)
            except Lost:
                self._give_up()
        if self._ahead is not None and self._ahead.is_idle:
            self._ahead = None
        self.claims = {who: at for who, at in self.claims.items() if at.height > self._chain.height}
        if self._claimant not in self.claims:
            self._ahead = None
        return steps

    def _give_up(self) -> None:
        self._ahead = None
        if (position := self.claims.pop(self._claimant, None)) is not None:
            self._false.add((self._claimant, position.head))

    def _is_ours(self, block: Block) -> bool:
        try:
            record = parse_record(block)
            if record.body.by != self._newest.author.member or not self._newest.author.has_signed(record):
                return False
            record.check_signatures()
        except (BlockError, BadSignature):
            return False
        return isinstance(record.body, Chained)

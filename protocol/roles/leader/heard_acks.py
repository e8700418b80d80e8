"""Acks at the leader: judged against its own chain, and kept beside the run."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from typing import Final

from crypto.dsse import BadSignature
from protocol.blocks.cid import CID, Block, BlockError
from protocol.pacing.retry import SLOWEST_RETRY
from protocol.records.bodies import Ack
from protocol.records.signed import Record, parse_record
from protocol.roles.claims import Claims
from protocol.roles.effects import KeepAcks, What
from protocol.roles.leader.plan import ResumedRun
from protocol.roles.leader.writer import Recorder
from protocol.roles.newest_manifest import Author, TrustedManifest
from protocol.wire.announcements import AckReady

REMEMBERED: Final = 4_096
"""Acks that are remembered: one that comes again is known, and another in its place is found out."""

MAX_ACK: Final = 64 << 10
"""Bytes of an ack, which are kept: one with `protocol.roles.client.acks.MAX_REPLIES` replies has two thirds of it."""


class AckRefused(Exception):
    """An ack that is not kept; ``str`` says why."""


class Confirming(Recorder):
    """A recorder that keeps what its members confirm."""

    def __init__(self, author: Author, trusted: TrustedManifest, run: ResumedRun) -> None:
        super().__init__(author, trusted, run)
        self._acks: OrderedDict[tuple[bytes, int, int], CID] = OrderedDict()
        """By member, term and height."""
        self._highest: dict[bytes, int] = {}
        """The greatest height that each member's acks have confirmed."""
        self._new_acks: list[Block] = []
        """They are kept together, once a beat: nothing but the end waits for them."""
        self._keeping = 0
        self._confirming = Claims(1, SLOWEST_RETRY)
        self._newest_acks: dict[bytes, Block] = {}
        """The highest ack of each member: it may have forgotten it."""
        for block in run.acks:
            self._remember(block)

    def _remember(self, block: Block) -> None:
        """Note an ack that was kept by an earlier process of ours."""
        ack = parse_record(block).body
        if isinstance(ack, Ack):
            self._acks[(ack.by, ack.term, ack.height)] = block.cid
            if ack.height > self._highest.get(ack.by, -1):
                self._highest[ack.by], self._newest_acks[ack.by] = ack.height, block

    def _heard_of_ack(self, by: bytes, ready: AckReady, inline: Iterable[Block], now: float) -> None:
        block = next((block for block in inline if block.cid == ready.record), None)
        if block is None or self.chain.head is None or ready.run != self.chain.run:
            return
        if not self._confirming.may_open(by, now):
            return
        self._confirming.open(by)
        try:
            self._take_ack(by, block, now)
        except (BlockError, AckRefused) as error:
            self._confirming.failed(by, now)
            self._outbox.report(What.ACK_REFUSED, name=self.manifest.name_of(by), why=str(error))
        else:
            self._confirming.held(by)

    def _take_ack(self, by: bytes, block: Block, now: float) -> None:
        """Keep an ack that says something new; its signature is verified last.

        Raises:
            AckRefused, protocol.blocks.cid.BlockError: where it is none of ours to keep.
        """
        if len(block.data) > MAX_ACK:
            raise AckRefused(f"it has {len(block.data)} bytes, more than {MAX_ACK}")
        record = parse_record(block)
        ack = self._judged(by, record)
        place = (ack.by, ack.term, ack.height)
        known = self._acks.get(place)
        if known == record.cid or (known is None and ack.height <= self._highest.get(by, -1)):
            return  # late: the one that came covers it; and so nobody has us keep more than one for each height
        try:
            record.check_signatures()
        except BadSignature as error:
            raise AckRefused(str(error)) from error
        if known is None:
            self._acks[place] = record.cid
            self._highest[by], self._newest_acks[by] = ack.height, block
            self._new_acks.append(block)
            if len(self._acks) > REMEMBERED:
                self._acks.popitem(last=False)
        else:
            self._proofs.compare(known, record.cid, (*self._new_acks, block), now)

    def _judged(self, by: bytes, record: Record) -> Ack:
        """The ack in a record, where it names a member's own key and confirms our chain; it is not verified yet.

        Raises:
            AckRefused: where it is not.
        """
        ack = record.body
        if not isinstance(ack, Ack) or ack.by != by or ack.run != self.chain.run or ack.epoch is not None:
            raise AckRefused("it is no ack of its sender's in this run")
        member = self.chain.manifest.members.get(by)
        if member is None or record.signers != (member.signing,):
            raise AckRefused("it is not signed with its author's key")
        if ack.replies.link is not None or ack.private:
            raise AckRefused("it lists more replies than fit its block, or has something private")
        durable = -1 if self._durable is None else self._durable.height
        if ack.height > durable or self._records[ack.height] != ack.head or ack.term != self.chain.term:
            raise AckRefused(f"it confirms another record at height {ack.height} than ours")
        return ack

    def _keep_acks(self) -> bool:
        """Keep the acks that have come since; whether none is on its way to disk."""
        if self._new_acks:
            kept, self._new_acks = tuple(self._new_acks), []
            self._keeping += 1
            self._outbox.must(KeepAcks, self._acks_kept, self.chain.run, kept)
        return not self._keeping

    def _acks_kept(self, now: float) -> None:
        self._keeping -= 1

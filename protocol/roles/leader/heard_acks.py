"""Acks at the leader: judged against its own chain, and kept beside the run."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable
from functools import partial
from typing import Final

from crypto.dsse import BadSignature
from protocol.blocks.cid import CID, Block, BlockError
from protocol.federation.manifest import Manifest
from protocol.pacing.backoff import SLOWEST_RETRY
from protocol.records.bodies import Ack, Comparison, RecomputedAck
from protocol.records.signed_records import Record, parse_record
from protocol.roles.effects import KeepAcks, What
from protocol.roles.leader.leader_states import LeaderState
from protocol.roles.leader.record_writer import RecordWriter
from protocol.roles.machine import Machine
from protocol.roles.unchecked_claims import UncheckedClaims
from protocol.wire.announcements import AckReady
from protocol.witnesses.awaited_witnesses import AwaitedWitnesses

REMEMBERED: Final = 4_096
"""Acks that are remembered: one that comes again is known, and another in its place is found out."""

MAX_ACK: Final = 64 << 10
"""Bytes of an ack, which are kept: one with as many replies as it may list has two thirds of it."""


class AckRefused(Exception):
    """An ack that is not kept; ``str`` says why."""


def read_ack(by: bytes, block: Block, run: CID, manifest: Manifest) -> tuple[Record, Ack]:
    """The ack in ``block``, if it names the key that ``manifest`` gives to its author ``by``; it is not verified yet.

    Raises:
        AckRefused, protocol.blocks.cid.BlockError: it does not.
    """
    if len(block.data) > MAX_ACK:
        raise AckRefused(f"it has {len(block.data)} bytes, more than {MAX_ACK}")
    record = parse_record(block)
    ack = record.body
    if not isinstance(ack, Ack) or ack.by != by or ack.run != run or ack.epoch is not None:
        raise AckRefused("it is no ack of its sender's in this run")
    member = manifest.members.get(by)
    if member is None or record.signers != (member.signing,):
        raise AckRefused("it is not signed with its author's key")
    if ack.replies.link is not None or ack.private:
        raise AckRefused("it lists more replies than fit its block, or has something private")
    return record, ack


class HeardAcks:
    """What the members of a run confirm."""

    contradicted: Callable[[float], None]
    """Called once another server's word against us is on disk. The role sets it."""

    def __init__(
        self,
        kept: Iterable[Block],
        witnesses: AwaitedWitnesses,
        writer: RecordWriter,
        machine: Machine[LeaderState],
    ) -> None:
        """``kept`` are acks that earlier processes of ours have kept."""
        self._witnesses = witnesses
        self._writer = writer
        self._newest, self._equivocations, self._outbox = machine.newest, machine.equivocations, machine.outbox
        self._known: OrderedDict[tuple[bytes, int, int], CID] = OrderedDict()
        """By member, term and height."""
        self._highest: dict[bytes, tuple[int, Block]] = {}
        """The greatest height that each member has confirmed, and that ack, which its member may have forgotten."""
        self._contradicting: set[bytes] = set()
        """The members that have computed something else than is recorded: they sign nothing more of the run."""
        self._new: list[Block] = []
        """They are kept together, once a beat: nothing but the end waits for them."""
        self._keeping = 0
        self._claims = UncheckedClaims(1, SLOWEST_RETRY)
        for block in kept:
            ack = parse_record(block).body
            if isinstance(ack, Ack):
                self._known[(ack.by, ack.term, ack.height)] = block.cid
                if ack.height > self.height(ack.by):
                    self._highest[ack.by] = ack.height, block
                self._contradicts(ack)

    def _contradicts(self, ack: Ack) -> bool:
        """Whether its author has computed something else; note that."""
        if not isinstance(ack, RecomputedAck) or ack.recomputed.comparison is not Comparison.DIVERGED:
            return False
        self._contradicting.add(ack.by)
        return True

    def newest_of(self, member: bytes) -> Block | None:
        """The highest ack of a member."""
        known = self._highest.get(member)
        return None if known is None else known[1]

    def height(self, member: bytes) -> int:
        """Up to which height a member has confirmed our run; -1: none."""
        known = self._highest.get(member)
        return -1 if known is None else known[0]

    @property
    def contradicting(self) -> frozenset[bytes]:
        """The servers that have computed something else than we have recorded."""
        return frozenset(self._contradicting)

    def awaits(self, standbys: Iterable[bytes]) -> bool:
        """Whether one of ``standbys`` has not told what it made of the run's end."""
        height = self._writer.chain.height
        return any(self.height(by) < height and by not in self._contradicting for by in standbys)

    def heard(self, by: bytes, ready: AckReady, inline: Iterable[Block], now: float) -> None:
        """A member says that it has confirmed our chain."""
        block = next((block for block in inline if block.cid == ready.record), None)
        if block is None or self._writer.chain.head is None or ready.run != self._writer.chain.run:
            return
        if not self._claims.may_open(by, now):
            return
        self._claims.open(by)
        try:
            self._take(by, block, now)
        except (BlockError, AckRefused) as error:
            self._claims.failed(by, now)
            self._outbox.report(What.ACK_REFUSED, name=self._newest.manifest.name_of(by), why=str(error))
        else:
            self._claims.held(by)

    def _take(self, by: bytes, block: Block, now: float) -> None:
        """Keep an ack that says something new; its signature is verified last.

        Raises:
            AckRefused, protocol.blocks.cid.BlockError: it is none of ours to keep.
        """
        record, ack = read_ack(by, block, self._writer.chain.run, self._writer.chain.manifest)
        self._judge(ack)
        place = (ack.by, ack.term, ack.height)
        known = self._known.get(place)
        if known == record.cid or (known is None and ack.height <= self.height(by)):
            return  # late: the one that came covers it; and so nobody has us keep more than one for each height
        try:
            record.check_signatures()
        except BadSignature as error:
            raise AckRefused(str(error)) from error
        if known is None:
            self._known[place] = record.cid
            self._highest[by] = ack.height, block
            self._new.append(block)
            self._witnesses.take(record, block)
            if self._contradicts(ack):
                name = self._newest.manifest.name_of(by)
                run = str(ack.run)
                self._outbox.report(What.CONTRADICTED, name=name, run=run, height=ack.height, ack=str(record.cid))
                self._keep(self.contradicted)
            if len(self._known) > REMEMBERED:
                self._known.popitem(last=False)
        else:
            self._equivocations.compare(known, record.cid, (*self._new, block), now)

    def _judge(self, ack: Ack) -> None:
        """Raise AckRefused if it does not confirm our chain."""
        durable, writer = self._writer.durable, self._writer
        height = -1 if durable is None else durable.height
        ours = ack.height <= height and (ack.head, ack.term) == (writer.records[ack.height], writer.term_at(ack.height))
        if not ours:
            raise AckRefused(f"it confirms another record at height {ack.height} than ours")

    def keep(self) -> None:
        """Keep the acks that have come since the last time."""
        if self._new:
            self._keep(lambda _: None)

    def _keep(self, then: Callable[[float], None]) -> None:
        kept, self._new = tuple(self._new), []
        self._keeping += 1
        self._outbox.must(KeepAcks, partial(self._kept, then), self._writer.chain.run, kept)

    @property
    def are_kept(self) -> bool:
        """Whether none is on its way to disk."""
        return not self._keeping

    def _kept(self, then: Callable[[float], None], now: float) -> None:
        self._keeping -= 1
        then(now)

"""What servers other than the leader sign of the run that is followed, if it needs witnesses: no client trains on a
model that its leader alone vouches for, nor on any after one that another server contradicts.

A witness announces its newest ack again and again as long as messages are open, and answers those that ask. So a client
asks for nothing: it takes what comes, as far as it can be about a record that is here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Final

from crypto.dsse import BadSignature
from protocol.blocks.cid import CID, Block, BlockError
from protocol.chain.chain import OpenMessage, Step
from protocol.federation.manifest import Manifest
from protocol.pacing.backoff import SLOWEST_RETRY
from protocol.records.bodies import Comparison, RecomputedAck, Role, Run
from protocol.records.signed_records import Record, parse_record
from protocol.replies.checks_and_limits import is_update
from protocol.roles.catch_up import CatchUp
from protocol.roles.effects import KeepAcks, What
from protocol.roles.following.follower_states import FollowerState
from protocol.roles.following.taking_part import TakingPart
from protocol.roles.leader.heard_acks import AckRefused, read_ack
from protocol.roles.machine import Machine
from protocol.roles.unchecked_claims import UncheckedClaims
from protocol.wire.announcements import AckReady
from protocol.witnesses.needed import possible_witnesses
from protocol.witnesses.vouching import Contradiction, Vouching

MANIFESTS: Final = 8
"""How many of the manifests that were in force are remembered: an ack is signed by the one after its head."""


class HeardWitnesses:
    """The witnesses of the run that is followed. Of each server one ack waits, and one is verified at a time."""

    def __init__(self, kept: Callable[[CID], list[Block]], part: TakingPart, machine: Machine[FollowerState]) -> None:
        """``kept(run)`` are the contradictions that this peer has kept of a run, in this process or one before."""
        self._kept = kept
        self._part = part
        self._newest, self._equivocations, self._outbox = machine.newest, machine.equivocations, machine.outbox
        self._claims = UncheckedClaims(1, SLOWEST_RETRY)
        self._said = ""
        """The note by which we have said that the run is disputed."""
        self.is_of_laid_down: Callable[[RecomputedAck], bool] = lambda _: False
        """Whether a word is about a record that we have laid down. `protocol.roles.following.laid_down` sets it."""
        self.adds: Callable[[RecomputedAck, Block], None] = lambda _ack, _block: None
        """Takes such a word once it is verified. The same sets it."""
        self._begin()

    def _begin(self) -> None:
        """A run is followed from its first record on: nothing is known of its witnesses."""
        self._vouching = Vouching()
        self._in_force: list[tuple[int, Manifest]] = []
        """The newest manifests, with the height of the record that brought each into force, the oldest first."""
        self._early: dict[bytes, Block] = {}
        """Of each server its newest ack that is about a record which is not here."""
        self._heights: dict[bytes, int] = {}
        """The greatest height of an ack that was taken, by its author."""

    # -- hearing ----------------------------------------------------------------------------------------------------

    def stepped(self, run: CatchUp, step: Step, now: float) -> None:
        """One more record of the run is verified: what came early may be about it."""
        chain = run.chain
        if isinstance(step.record.body, Run):
            self._begin()
        if step.manifest_changed:
            self._in_force = [*self._in_force[1 - MANIFESTS :], (chain.height, chain.manifest)]
        for block in [*self._early.values(), *self._kept(run.run)] if chain.witnesses_needed else ():
            body = parse_record(block).body
            if isinstance(body, RecomputedAck) and body.height == chain.height:
                if self._early.get(body.by) == block:
                    del self._early[body.by]
                self._look_into(body.by, body.by, block, run, now)

    def signed(self, block: Block, run: CatchUp, now: float) -> None:
        """Our own word is on disk: it counts as that of any server."""
        if run.chain.witnesses_needed:
            ours = self._newest.author.member
            self._look_into(ours, ours, block, run, now)

    def fork(self, height: int) -> None:
        """The records above ``height`` are lost."""
        self._vouching.fork(height)
        self._in_force = [(since, manifest) for since, manifest in self._in_force if since <= height]
        self._heights = {by: min(confirmed, height) for by, confirmed in self._heights.items()}

    def heard(self, by: bytes, ready: AckReady, inline: Iterable[Block], run: CatchUp, now: float) -> bool:
        """A member says that it has confirmed the run; whether that may change anything for us. With its own word may
        come those of others that contradict the same record: whoever spoke them may be gone. A leader contradicts
        nothing, and vouches for what another sent."""
        chain = run.chain
        if ready.run != run.run or not chain.witnesses_needed:
            return False
        servers, is_news = self._newest.manifest.ids_of(Role.SERVER), False
        if by not in servers:
            return False
        for block in list(inline)[: len(servers)]:
            against = self._author_against(block)
            author = by if block.cid == ready.record else against
            if author in servers and against != chain.by and self._claims.may_open(by, now):
                is_news |= self._look_into(by, author, block, run, now)
        return is_news

    def _author_against(self, block: Block) -> bytes:
        """Who contradicts the run in a block; empty if nobody does."""
        try:
            body = parse_record(block).body
        except BlockError:
            return b""
        contradicts = isinstance(body, RecomputedAck) and body.recomputed.comparison is Comparison.DIVERGED
        return body.by if contradicts else b""

    def _look_into(self, sender: bytes, by: bytes, block: Block, run: CatchUp, now: float) -> bool:
        self._claims.open(sender)
        try:
            is_news = self._take(sender, by, block, run, now)
        except (BlockError, AckRefused) as error:
            self._claims.failed(sender, now)
            self._outbox.report(What.ACK_REFUSED, name=self._newest.manifest.name_of(sender), why=str(error))
            return False
        self._claims.held(sender)
        return is_news

    def _take(self, sender: bytes, by: bytes, block: Block, run: CatchUp, now: float) -> bool:
        """Take an ack that says something new of a record that is here; its signature is verified last, unless another
        than its author has brought it: that one is to blame if it is forged.

        Raises:
            AckRefused, protocol.blocks.cid.BlockError: it says nothing that counts.
        """
        chain = run.chain
        body = parse_record(block).body
        height = body.height if isinstance(body, RecomputedAck) else -1
        if height <= self._heights.get(by, -1):
            return False  # no word of having replayed it, or one that a newer one covers
        record, ack = read_ack(by, block, run.run, self.in_force_at(height))
        assert isinstance(ack, RecomputedAck)
        if sender != by:
            _check(record)
        if self.is_of_laid_down(ack):
            _check(record)
            self.adds(ack, block)
            return True
        if height > chain.height:
            self._early[by] = block if sender == by else self._early.get(by, block)
            return False
        if (ours := run.record_at(ack.term, height)) != ack.head:
            if ours is not None:
                self._equivocations.compare(ours, ack.head, (), now)
            return False
        _check(record)
        self._heights[by] = height
        self._vouching.take(ack, record.signers[0], block)
        if ack.recomputed.comparison is Comparison.DIVERGED:
            self._contradicted(record, ack, block, run)
        return True

    def _contradicted(self, record: Record, ack: RecomputedAck, block: Block, run: CatchUp) -> None:
        """Keep it: with the chain it is what a dispute is made of."""
        if ack.by != self._newest.author.member:
            name = self._newest.manifest.name_of(ack.by)
            about, cid = str(run.run), str(record.cid)
            self._outbox.report(What.CONTRADICTED, name=name, run=about, height=ack.height, ack=cid)
        self.keep(run.run, block)

    def keep(self, run: CID, block: Block) -> None:
        """Have a word against the run on disk."""
        if block not in (kept := self._kept(run)):
            kept.append(block)
            self._outbox.must(KeepAcks, lambda _: None, run, (block,))

    def in_force_at(self, height: int) -> Manifest:
        """The manifest after the record at ``height``; of a record that is not here the newest."""
        found = self._newest.manifest
        for since, manifest in self._in_force:
            if since <= height:
                found = manifest
        return found

    # -- what follows -----------------------------------------------------------------------------------------------

    def contradiction(self, run: CatchUp) -> Contradiction | None:
        """The word of another server against the run, if the run needs witnesses and that server counts."""
        if not run.chain.witnesses_needed:
            return None
        return self._vouching.contradiction(self._newest.manifest, run.chain.by)

    def contradicted(self) -> Mapping[CID, Sequence[Contradiction]]:
        """The words against the run that count, by record."""
        return self._vouching.contradicted()

    def may_answer(self, run: CatchUp, message: OpenMessage) -> bool:
        """Whether enough servers vouch for what the message sends, and none contradicts it or anything before."""
        against = self.contradiction(run)
        if against is not None and message.height >= against.height:
            return False
        return not self._lacking(run, message)

    def _lacking(self, run: CatchUp, message: OpenMessage) -> int:
        """How many servers more have to vouch for what the message sends."""
        needed = run.chain.witnesses_needed if is_update(message.type) else 0
        return max(0, needed - len(self._vouched_for(message))) if needed else 0

    def _vouched_for(self, message: OpenMessage) -> frozenset[bytes]:
        return self._vouching.vouch_for(message.height, self._newest.manifest, message.leader)

    def awaited(self, run: CatchUp, messages: Iterable[OpenMessage]) -> Iterator[OpenMessage]:
        """Those of the messages that wait for servers to vouch for them; none if the run is disputed."""
        if self.contradiction(run) is None:
            yield from (message for message in messages if self._lacking(run, message))

    def silent(self, run: CatchUp, messages: Iterable[OpenMessage]) -> Iterator[str]:
        """The names of the servers that do not vouch yet for the first of the messages that waits."""
        manifest = self._newest.manifest
        if (waiting := next(self.awaited(run, messages), None)) is not None:
            for by in sorted(possible_witnesses(manifest, waiting.leader) - self._vouched_for(waiting)):
                yield manifest.name_of(by)

    def tell(self, run: CatchUp, laid_down: str, now: float) -> None:
        """Say in our beats that we answer no more because the run is disputed, or that we do again. ``laid_down`` is
        what we wait for if most servers agree on it, else empty."""
        against, note = self.contradiction(run), laid_down
        if against is not None:
            name, leader = (self._newest.manifest.called(by) for by in (against.by, run.chain.by))
            note = (
                f"{name} has computed something else than {leader} recorded at height {against.height}: "
                f"peer dispute {run.chain.run.label} says what both sign, and peer audit who is wrong"
            )
        if note != self._said and self._part.note in ("", self._said):
            self._said = note
            self._part.tell(note, now)


def _check(record: Record) -> None:
    """Raise AckRefused if its author has not signed it."""
    try:
        record.check_signatures()
    except BadSignature as error:
        raise AckRefused(str(error)) from error

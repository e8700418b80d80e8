"""Acks at a keeper: what members confirm of the runs that it keeps, kept beside them.

So whoever gets a run of a keeper's can see who confirmed it, whether or not its server shows that.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from crypto.dsse import BadSignature
from protocol.blocks.cid import CID, Block, BlockError
from protocol.pacing.backoff import SLOWEST_RETRY
from protocol.records.bodies import Ack
from protocol.roles.effects import KeepAcks, What
from protocol.roles.following.told_acks import NONE, AckedTo
from protocol.roles.keeper.keeper_states import KeeperState
from protocol.roles.keeper.kept_runs import KeptRuns
from protocol.roles.leader.heard_acks import AckRefused, read_ack
from protocol.roles.machine import Machine
from protocol.roles.unchecked_claims import UncheckedClaims
from protocol.wire.announcements import AckReady

REMEMBERED: Final = 16_384
"""Members and runs of which it is remembered how far they confirmed."""


class KeptAcks:
    """The acks of all runs. Only the highest of each member's counts: it covers those before it."""

    def __init__(self, runs: KeptRuns, machine: Machine[KeeperState]) -> None:
        self._runs = runs
        self._newest, self._outbox = machine.newest, machine.outbox
        self._highest: dict[tuple[CID, bytes], AckedTo] = {}
        """By run and member."""
        self._claims = UncheckedClaims(1, SLOWEST_RETRY)

    def heard(self, by: bytes, ready: AckReady, inline: Iterable[Block], now: float) -> None:
        """A member says that it has confirmed a run."""
        block = next((block for block in inline if block.cid == ready.record), None)
        if block is None or not self._claims.may_open(by, now):
            return
        self._claims.open(by)
        try:
            self._take(by, ready.run, block)
        except (BlockError, AckRefused) as error:
            self._claims.failed(by, now)
            self._outbox.report(What.ACK_REFUSED, name=self._newest.manifest.name_of(by), why=str(error))
        else:
            self._claims.held(by)

    def _take(self, by: bytes, run: CID, block: Block) -> None:
        """Keep an ack that says something new. Its signature is verified last.

        Raises:
            AckRefused, protocol.blocks.cid.BlockError: it is none to keep.
        """
        kept = self._runs.followed.get(run)
        manifest = self._newest.manifest if kept is None or kept.chain.head is None else kept.chain.manifest
        record, ack = read_ack(by, block, run, manifest)
        if (ack.term, ack.height) <= self._highest.get((run, by), NONE) or not self._confirms(ack):
            return
        try:
            record.check_signatures()
        except BadSignature as error:
            raise AckRefused(str(error)) from error
        self._highest[run, by] = ack.term, ack.height
        if len(self._highest) > REMEMBERED:
            del self._highest[next(iter(self._highest))]
        self._outbox.must(KeepAcks, lambda _: None, run, (block,))

    def _confirms(self, ack: Ack) -> bool:
        """Whether it confirms what we keep; not if that is not known here, or not any more, or is lost.

        Raises:
            AckRefused: it confirms another record at its height.
        """
        if (whole := self._runs.whole.get(ack.run)) is not None:
            head = whole.head if (whole.height, whole.term) == (ack.height, ack.term) else None
        elif (kept := self._runs.followed.get(ack.run)) is not None:
            head = kept.verified.record_at(ack.term, ack.height)
        else:
            head = None
        if head is not None and head != ack.head:
            raise AckRefused(f"it confirms another record at height {ack.height} than we keep")
        return head is not None

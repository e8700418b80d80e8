"""Acks: a member signs what it has verified, so that nobody can show another history later.

Not for every record: an ack covers all records up to its head. A client acks when it has answered a message, at each
index record, and at the close, and once at most at one height. It is on disk before it is sent, so that a peer that
starts again never signs a second one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Final

from protocol.blocks.cid import CID, Block
from protocol.blocks.listing import pack
from protocol.pacing.backoff import Backoff
from protocol.records.bodies import Ack
from protocol.records.signed_records import sign_record
from protocol.roles.catch_up import CatchUp
from protocol.roles.client.forgotten_replies import ForgottenReplies
from protocol.roles.client.kept_run import KeptRun
from protocol.roles.effects import KeepAcks
from protocol.roles.following.follower_states import FollowerState
from protocol.roles.machine import Machine
from protocol.wire.announcements import AckReady

TIMES: Final = 5
"""How often an ack is announced, if no newer one takes its place."""


@dataclass(slots=True)
class _Telling:
    """The newest ack, which the leader may not have."""

    run: CID
    block: Block
    retry: Backoff
    left: int = TIMES


class OwnAcks:
    """Signs, keeps and announces our acks."""

    def __init__(
        self, kept: Mapping[CID, KeptRun], forgotten: ForgottenReplies, machine: Machine[FollowerState]
    ) -> None:
        self._kept = kept
        self._forgotten = forgotten
        self._copies, self._newest = machine.copies, machine.newest
        self._announcer, self._outbox = machine.announcer, machine.outbox
        self._telling: _Telling | None = None

    def ack(self, run: CatchUp, now: float, then: Callable[[float], None] = lambda _: None) -> None:
        """Ack the run's head, once; ``then(now)`` runs when that is on disk and announced, or was not to be done.

        It is not done while we know a newer manifest than the run does: an ack shows an auditor that the run was there
        before the newer one, which may revoke the leader's key.
        """
        chain, kept = run.chain, self._kept[run.run]
        may_sign = self._copies.may_sign and self._forgotten.are_known  # or another of ours may be at this height
        if chain.head is None or not may_sign or run.is_behind or chain.height <= kept.acked:
            then(now)
            return
        author = self._newest.author
        replies, _ = pack(kept.unlisted())
        body = Ack(
            by=author.member,
            time=now,
            run=chain.run,
            term=chain.term,
            height=chain.height,
            head=chain.head,
            replies=replies,
        )
        block = sign_record(body, [author.key_in(chain.manifest)])
        kept.keep_ack(body)
        self._outbox.must(KeepAcks, partial(self._is_kept, chain.run, block, then), chain.run, (block,))

    def _is_kept(self, run: CID, block: Block, then: Callable[[float], None], now: float) -> None:
        self._telling = _Telling(run, block, Backoff(now))
        self.announce(now)
        then(now)

    def announce(self, now: float) -> None:
        """Announce the newest ack, if that is due."""
        telling = self._telling
        if telling is not None and telling.left and now >= telling.retry.at:
            telling.left -= 1
            telling.retry.back_off(now)
            ready = AckReady(telling.run, telling.block.cid)
            self._announcer.announce(ready, (telling.block,), topic=self._announcer.topic)

    def moments(self) -> Iterator[float]:
        """When the ack is to be announced."""
        if self._telling is not None and self._telling.left:
            yield self._telling.retry.at

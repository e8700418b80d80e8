"""Acks: a member signs what it has verified, so that nobody can show another history later.

Not for every record: an ack covers all records up to its head. A client acks where it has answered a message, at each
index record, and at the close, and once at most at one height. It is on disk before it is sent, so that a peer that
starts again never signs a second one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from protocol.blocks.cid import CID, Block
from protocol.blocks.trees import pack
from protocol.pacing.retry import Retry
from protocol.records.bodies import Ack
from protocol.records.signed import sign_record
from protocol.roles.catch_up import CatchUp
from protocol.roles.client.app_host import ClientPlan
from protocol.roles.client.follow import Verified
from protocol.roles.client.replies import Replying
from protocol.roles.effects import KeepAcks
from protocol.roles.newest_manifest import Author, TrustedManifest
from protocol.wire.announcements import AckReady

MAX_REPLIES: Final = 1_000
"""Replies that one ack lists: they are in its own block. Others wait for the next."""

TIMES: Final = 5
"""How often an ack is announced, where no newer one takes its place."""


@dataclass(slots=True)
class KeptRun:
    """What a client has on disk of a run: its reply to each message, the newest `Context.state`, and of its acks the
    newest height and the replies that they list."""

    replies: dict[bytes, CID] = field(default_factory=dict)
    state: CID | None = None
    acked: int = -1
    listed: set[CID] = field(default_factory=set)

    def keep_ack(self, ack: Ack) -> None:
        """Note an ack that is on disk."""
        self.acked = max(self.acked, ack.height)
        if isinstance(ack.replies.value, tuple):
            self.listed.update(ack.replies.value)

    def unlisted(self) -> list[CID]:
        """Replies that the next ack is to list."""
        return [reply for reply in self.replies.values() if reply not in self.listed][:MAX_REPLIES]


@dataclass(slots=True)
class _Telling:
    """The newest ack, which the leader may not have."""

    run: CID
    block: Block
    retry: Retry
    left: int = TIMES


class Acking(Replying):
    """A machine that acks what it has verified."""

    def __init__(self, author: Author, trusted: TrustedManifest, plan: ClientPlan, verified: Verified) -> None:
        super().__init__(author, trusted, plan, verified)
        self._kept = KeptRun()
        self._newest_ack: _Telling | None = None

    def _ack(self, run: CatchUp, now: float, then: Callable[[float], None] = lambda _: None) -> None:
        """Ack the run's head, once; ``then(now)`` runs when that is on disk and announced, or was not to be done.

        It is not done while we know a newer manifest than the run does: an ack shows an auditor that the run was there
        before the newer one, which may revoke the leader's key.
        """
        chain, kept = run.chain, self._kept
        may_sign = self._copies.may_sign and self._recalling.has_listened  # else another of ours may be at this height
        if chain.head is None or not may_sign or self._is_behind(run) or chain.height <= kept.acked:
            then(now)
            return
        replies, _ = pack(kept.unlisted())
        body = Ack(
            by=self.author.member,
            time=now,
            run=chain.run,
            term=chain.term,
            height=chain.height,
            head=chain.head,
            replies=replies,
        )
        block = sign_record(body, [self.author.key_in(chain.manifest)])
        kept.keep_ack(body)
        done = partial(self._ack_kept, chain.run, block, then)
        self._outbox.must(KeepAcks, done, chain.run, (block,))

    def _ack_kept(self, run: CID, block: Block, then: Callable[[float], None], now: float) -> None:
        self._newest_ack = _Telling(run, block, Retry(now))
        self._tell_ack(now)
        then(now)

    def _tell_ack(self, now: float) -> None:
        """Announce the newest ack, where that is due."""
        telling = self._newest_ack
        if telling is not None and telling.left and now >= telling.retry.at:
            telling.left -= 1
            telling.retry.back_off(now)
            ready = AckReady(telling.run, telling.block.cid)
            self._voice.announce(ready, (telling.block,), topic=self._voice.topic)

    def _moments(self) -> Iterable[float]:
        yield from super()._moments()
        if self._newest_ack is not None and self._newest_ack.left:
            yield self._newest_ack.retry.at

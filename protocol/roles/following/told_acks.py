"""Signs an ack, keeps it, and then announces it to the leader, which may not have heard it; a witness's to all."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Final

from protocol.blocks.cid import CID, Block
from protocol.federation.manifest import Manifest
from protocol.pacing.backoff import Backoff
from protocol.records.bodies import Ack
from protocol.records.signed_records import parse_record, sign_record
from protocol.roles.effects import KeepAcks
from protocol.roles.following.follower_states import FollowerState
from protocol.roles.leader.leader_states import LeaderState
from protocol.roles.machine import Machine
from protocol.wire.announcements import AckReady, topic_all

TIMES: Final = 5
"""How often an ack is announced, if no newer one takes its place."""

AckedTo = tuple[int, int]
"""The term and the height of the newest head that a member has acked: it acks none that comes before it in that order,
nor that one again. One in a higher term may be lower, if what was above it is lost."""

NONE: Final[AckedTo] = (0, -1)
"""No head was acked."""


@dataclass(slots=True)
class _Telling:
    """The newest ack, which the leader may not have."""

    run: CID
    block: Block
    retry: Backoff
    left: int = TIMES


class ToldAcks:
    """An ack is on disk before it is announced, so that a peer that starts again never signs a second one."""

    def __init__(self, machine: Machine[FollowerState] | Machine[LeaderState]) -> None:
        self._newest, self._announcer, self._outbox = machine.newest, machine.announcer, machine.outbox
        self._telling: _Telling | None = None
        self.is_awaited: Callable[[], bool] = lambda: False
        """Whether members wait for our word: then it is announced for as long as they may."""
        self.is_for_all: Callable[[], bool] = lambda: False
        """Whether it is announced to all, and not to the leader alone."""
        self.beside: Callable[[], tuple[Block, ...]] = lambda: ()
        """The words of others that go along: their authors may be gone."""
        self.is_kept: Callable[[CID, Block, float], None] = lambda _run, _block, _now: None
        """Called when an ack of ours is on disk."""

    def sign(self, ack: Ack, manifest: Manifest, then: Callable[[float], None]) -> None:
        """Sign an ack with the key that ``manifest``, in force after its head, gives us; ``then(now)`` runs when that
        is on disk and announced."""
        block = sign_record(ack, [self._newest.author.key_in(manifest)])
        self._outbox.must(KeepAcks, partial(self._is_kept, ack.run, block, then), ack.run, (block,))

    def _is_kept(self, run: CID, block: Block, then: Callable[[float], None], now: float) -> None:
        self.is_kept(run, block, now)
        self.tell(run, block, now)
        then(now)

    def tell(self, run: CID, block: Block, now: float) -> None:
        """Announce an ack that is on disk, again and again."""
        self._telling = _Telling(run, block, Backoff(now))
        self.announce(now)

    def announce(self, now: float) -> None:
        """Announce the newest ack, if that is due."""
        telling = self._telling
        if telling is not None and any(now >= at for at in self.moments()):
            telling.left = max(0, telling.left - 1)
            telling.retry.back_off(now)
            ready = AckReady(telling.run, telling.block.cid)
            topic = topic_all(self._newest.manifest.federation) if self.is_for_all() else self._announcer.topic
            others = (block for block in self.beside() if block.cid != telling.block.cid)
            self._announcer.announce(ready, (telling.block, *others), topic=topic)

    def announce_soon(self, now: float) -> None:
        """Somebody has come who may have missed it."""
        if self._telling is not None and self.is_awaited():
            self._telling.retry.soon(now)

    def announce_again(self, now: float) -> None:
        """Another server leads, which may have missed the newest ack."""
        if self._telling is not None:
            self._telling.left = TIMES
            self._telling.retry.soon(now)

    def fork(self, height: int, term: int | None = None) -> None:
        """The records above ``height`` are lost: an ack of one of them is of no interest to who leads now. If they are
        lost to a ``term`` that begins there, an ack in it, or in one after it, is of a record that is not."""
        telling = self._telling
        if telling is None or not isinstance(ack := parse_record(telling.block).body, Ack):
            return
        if ack.height > height and (term is None or ack.term < term):
            self._telling = None

    def moments(self) -> Iterator[float]:
        """When the ack is to be announced."""
        if self._telling is not None and (self._telling.left or self.is_awaited()):
            yield self._telling.retry.at

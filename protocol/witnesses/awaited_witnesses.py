"""What other servers vouch for of the run that we lead, if it needs witnesses: when clients take up what we sent.

A client's time for a message begins when enough servers have recomputed it. One that is away is waited for; after the
owner's time-out for that, no new exchange begins until it is back, and people are told. Nothing is given up for it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from protocol.blocks.cid import Block
from protocol.chain.chain import Chain, OpenMessage
from protocol.federation.manifest import Manifest
from protocol.records.bodies import RecomputedAck
from protocol.records.signed_records import Record, parse_record
from protocol.replies.checks_and_limits import is_update
from protocol.roles.offline_times import OfflineTimes
from protocol.witnesses.needed import possible_witnesses
from protocol.witnesses.vouching import Contradiction, Vouching


@dataclass(frozen=True, slots=True)
class Lacking:
    """Witnesses that are waited for."""

    have: int
    needed: int
    silent: tuple[bytes, ...]
    """The servers that could vouch, and do not yet."""
    until: float | None
    """When the run pauses; None if it does already."""


class AwaitedWitnesses:
    """Of the open messages of ``chain``, which is our own."""

    def __init__(self, chain: Chain, kept: Iterable[Block], timeout: float, offline: OfflineTimes) -> None:
        """``kept`` are acks that earlier processes of ours have kept. For ``timeout`` seconds witnesses are waited for
        until no more exchanges are begun."""
        self._chain = chain
        self._timeout = timeout
        self._offline = offline
        self._vouching = Vouching()
        self._since: dict[int, float] = {}
        """When a dispatch with open messages was first seen to have enough witnesses, by its height."""
        self.said_paused = False
        """Whether people were told that the run pauses."""
        for block in kept:
            self.take(parse_record(block), block)

    def take(self, record: Record, block: Block) -> None:
        """Another member has signed what it made of our run; its ack was found right."""
        if isinstance(record.body, RecomputedAck):
            self._vouching.take(record.body, record.signers[0], block)

    def contradiction(self, manifest: Manifest) -> Contradiction | None:
        """The word of another server against us, if the run needs witnesses and that server is one in ``manifest``, the
        newest."""
        if self._chain.head is None or not self._chain.witnesses_needed:
            return None
        return self._vouching.contradiction(manifest, self._chain.by)

    def note(self, now: float) -> None:
        """Note which dispatches with open messages have enough witnesses, and since when."""
        needed = self._chain.witnesses_needed
        messages = self._chain.open.values() if needed else ()
        asked = {message.height: message for message in messages if is_update(message.type)}
        vouched = (height for height, message in asked.items() if len(self._have(message)) >= needed)
        self._since = {height: self._since.get(height, now) for height in vouched}

    def _have(self, message: OpenMessage) -> frozenset[bytes]:
        return self._vouching.vouch_for(message.height, self._chain.manifest, message.leader)

    # -- one message ------------------------------------------------------------------------------------------------

    def lacks(self, message: OpenMessage) -> bool:
        """Whether its client does not take up the message yet, because too few servers vouch for it."""
        return bool(self._chain.witnesses_needed) and is_update(message.type) and message.height not in self._since

    def taken_up(self, message: OpenMessage) -> float:
        """From when on its client may work on the message; infinite if too few servers vouch for it."""
        return math.inf if self.lacks(message) else max(message.created, self._since.get(message.height, 0.0))

    # -- all of them ------------------------------------------------------------------------------------------------

    @property
    def _oldest(self) -> OpenMessage | None:
        """The oldest message that waits for witnesses; None if none does."""
        messages = self._chain.open.values() if self._chain.witnesses_needed else ()
        return next((message for message in messages if self.lacks(message)), None)

    def possible(self) -> Iterator[tuple[bytes, int | None]]:
        """The servers that can vouch for the run, and up to which record each does; none if it needs no witnesses."""
        if self._chain.head is not None and self._chain.witnesses_needed:
            for by in sorted(possible_witnesses(self._chain.manifest, self._chain.by)):
                yield by, self._vouching.up_to(by)

    def _pauses_at(self, message: OpenMessage) -> float:
        return self._offline.ends(message.created, self._timeout)

    def lacking(self, now: float) -> Lacking | None:
        """What the oldest message waits for that waits for witnesses; None if none does."""
        if (waiting := self._oldest) is None:
            return None
        have, until = self._have(waiting), self._pauses_at(waiting)
        silent = possible_witnesses(self._chain.manifest, waiting.leader) - have
        return Lacking(len(have), self._chain.witnesses_needed, tuple(sorted(silent)), until if now < until else None)

    def is_paused(self, now: float) -> bool:
        """Whether no new exchange is begun, because a message has waited for witnesses for too long."""
        return (waiting := self._oldest) is not None and now >= self._pauses_at(waiting)

    def moments(self) -> Iterator[float]:
        """When the run pauses, if nobody vouches until then."""
        if not self.said_paused and (waiting := self._oldest) is not None:
            yield self._pauses_at(waiting)

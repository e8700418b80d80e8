"""What other servers have signed of one run's dispatches: which they recomputed, and which they contradict.

The caller has verified each ack: it is its author's, and its head is the run's. All members that have the same acks
come to the same.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from protocol.blocks.cid import CID, Block
from protocol.federation.manifest import Manifest
from protocol.records.bodies import Comparison, RecomputedAck
from protocol.witnesses.needed import possible_witnesses

SPANS: Final = 64
"""How many stretches of a run one server vouches for: after each exchange of which its machine cannot tell, another
begins. The oldest are forgotten; a message is not open for so long."""


@dataclass(frozen=True, slots=True)
class Contradiction:
    """The word of a server that its app came to something else, again and again."""

    by: bytes
    """The member."""
    key: bytes
    """The key that signed it."""
    height: int
    """Of the record that differs."""
    record: CID
    ack: Block


@dataclass(slots=True)
class _Vouched:
    by: bytes
    spans: deque[tuple[int, int]]
    """From where to where it vouches for the run; both heights are inside."""


class Vouching:
    """The witnesses of one run. Its memory grows with the servers alone."""

    def __init__(self) -> None:
        self._vouched: dict[bytes, _Vouched] = {}
        """By signing key."""
        self._contradictions: dict[bytes, Contradiction] = {}
        """The first of each key."""

    def take(self, ack: RecomputedAck, key: bytes, block: Block) -> None:
        """Note what an ack says that was signed with ``key``."""
        told = ack.recomputed
        if told.comparison is Comparison.DIVERGED:
            self._contradictions.setdefault(key, Contradiction(ack.by, key, ack.height, ack.head, block))
            return
        spans = self._vouched.setdefault(key, _Vouched(ack.by, deque(maxlen=SPANS))).spans
        if spans and told.since <= spans[-1][1] + 1:
            since, until = spans.pop()
            spans.append((min(since, told.since), max(until, ack.height)))
        else:
            spans.append((told.since, ack.height))

    def fork(self, height: int) -> None:
        """The records above ``height`` are lost by a takeover: what was said of them counts no more."""
        for vouched in self._vouched.values():
            left = [(since, min(until, height)) for since, until in vouched.spans if since <= height]
            vouched.spans = deque(left, maxlen=SPANS)
        self._vouched = {key: vouched for key, vouched in self._vouched.items() if vouched.spans}
        self._contradictions = {key: said for key, said in self._contradictions.items() if said.height <= height}

    def vouch_for(self, height: int, manifest: Manifest, leader: bytes) -> frozenset[bytes]:
        """The servers other than ``leader`` that recomputed the dispatch at ``height``. ``manifest`` is the newest: who
        is no server in it any more, or whose key it revokes, does not count."""
        possible = possible_witnesses(manifest, leader)
        return frozenset(
            vouched.by
            for key, vouched in self._vouched.items()
            if _counts(key, vouched.by, possible, manifest)
            and any(since <= height <= until for since, until in vouched.spans)
        )

    def up_to(self, by: bytes) -> int | None:
        """The newest record that a member vouches for; None if there is none."""
        return max((each.spans[-1][1] for each in self._vouched.values() if each.by == by), default=None)

    def contradiction(self, manifest: Manifest, leader: bytes) -> Contradiction | None:
        """The lowest contradiction by a server that counts, as `vouch_for` says; None if there is none. So a run goes
        on if the admins take out whoever spoke against it."""
        possible = possible_witnesses(manifest, leader)
        counted = (each for each in self._contradictions.values() if _counts(each.key, each.by, possible, manifest))
        return min(counted, key=lambda each: (each.height, each.by), default=None)

    def contradicted(self) -> Mapping[CID, Sequence[Contradiction]]:
        """The contradictions, by record. That of a server which vouches for the same record does not count: clients
        have trained on its word, and it cannot take that back."""
        against: dict[CID, list[Contradiction]] = defaultdict(list)
        for each in self._contradictions.values():
            if not self._vouches(each.by, each.height):
                against[each.record].append(each)
        return against

    def _vouches(self, by: bytes, height: int) -> bool:
        of_member = (each for each in self._vouched.values() if each.by == by)
        return any(since <= height <= until for each in of_member for since, until in each.spans)


def _counts(key: bytes, by: bytes, possible: Container[bytes], manifest: Manifest) -> bool:
    return by in possible and key not in manifest.revoked

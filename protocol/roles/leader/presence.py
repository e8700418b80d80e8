"""Which clients a leader counts as here: what Flower's ``get_node_ids`` answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from protocol.blocks.cid import CID
from protocol.federation.manifest import Manifest, node_id
from protocol.records.bodies import Role
from protocol.roles.offline_times import OfflineTimes
from protocol.wire.announcements import PeerState, beat_interval

AWAY_AFTER: Final = 15.0
"""Seconds of silence after which a client is no longer listed; several lost beats are no reason. What it may have said
while we were offline is no silence."""


@dataclass(frozen=True, slots=True)
class Sighting:
    """The newest that was heard of a client."""

    at: float
    state: PeerState
    head: CID | None
    """Of our run."""
    note: str


BEATS: Final = 3
"""Beats that a member has left out by then, where they are far apart as in a large federation."""


def silent_for(members: int, least: float = AWAY_AFTER) -> float:
    """Seconds of silence after which a member of a federation of so many counts as away."""
    return max(least, BEATS * beat_interval(members))


class Presence:
    """The clients heard of, by node id."""

    def __init__(self, away_after: float, offline: OfflineTimes) -> None:
        self._away_after = away_after
        self._offline = offline
        self._seen: dict[int, Sighting] = {}
        self._last: dict[int, float] = {}
        """When each client was heard last, be it still here or not."""
        self._left: dict[int, float] = {}
        """When each client said goodbye that was not heard of since."""
        self._counters: dict[bytes, int] = {}
        """Of the newest that each member said of itself."""

    def is_news(self, member: bytes, counter: int) -> bool:
        """Whether what a member says of itself (`Announcement.counter`) is newer than what it said before: pubsub
        changes the order. What is older is overtaken: a client takes part again, or has left since."""
        if counter < self._counters.get(member, 0):
            return False
        self._counters[member] = counter
        return True

    def heard(self, member: bytes, sighting: Sighting) -> bool:
        """Note a sighting; whether the client was not listed before it and is now."""
        node = node_id(member)
        before = node in self._seen and self._seen[node].state is not PeerState.REFUSED
        self._seen[node], self._last[node] = sighting, sighting.at
        self._left.pop(node, None)
        return not before and sighting.state is not PeerState.REFUSED

    def head_of(self, member: bytes) -> CID | None:
        """The newest head of our run that a client here has verified, as far as it has said."""
        seen = self._seen.get(node_id(member))
        return None if seen is None else seen.head

    def still_here(self, member: bytes, now: float) -> None:
        """A client gave a sign of life that says nothing of its state."""
        node = node_id(member)
        self._left.pop(node, None)
        if node in self._seen:
            old = self._seen[node]
            self._seen[node], self._last[node] = Sighting(now, old.state, old.head, old.note), now

    def left(self, member: bytes, now: float) -> bool:
        """A client said goodbye; whether it was listed."""
        node = node_id(member)
        self._left[node] = now
        return self._seen.pop(node, None) is not None

    def sighting(self, node: int) -> Sighting | None:
        """The newest of a client that is here; None if it is not."""
        return self._seen.get(node)

    def last_heard(self, node: int) -> float | None:
        """When a client was heard last, be it here or not; None if it never was."""
        return self._last.get(node)

    def left_at(self, node: int) -> float | None:
        """When a client said goodbye; None if it did not, or is back."""
        return self._left.get(node)

    def fade(self, members: int, now: float) -> tuple[int, ...]:
        """Forget the clients that have been silent for too long in a federation of so many; their nodes."""
        if (fading := self.next_fading(members)) is None or now < fading:
            return ()
        gone = tuple(node for node, sighting in self._seen.items() if now >= self._fades(sighting, members))
        for node in gone:
            del self._seen[node]
        return gone

    def listed(self, manifest: Manifest) -> tuple[int, ...]:
        """The nodes that take part, in rising order: client members here that have not refused the run."""
        clients = set(manifest.nodes_of(Role.CLIENT))
        here = (node for node, sighting in self._seen.items() if sighting.state is not PeerState.REFUSED)
        return tuple(sorted(clients.intersection(here)))

    def summary(self, manifest: Manifest, listed: tuple[int, ...], now: float) -> dict[str, str | int | float | None]:
        """What a person wants to know if ``listed`` are too few: how many clients there are, how many are here and
        take no part, and which of the others was heard last (seconds ago)."""
        clients = manifest.nodes_of(Role.CLIENT)
        silent = [node for node in clients if node in self._last and node not in self._seen]
        latest = max(silent, key=self._last.__getitem__, default=None)
        member = None if latest is None else manifest.member_by_node(latest)
        return {
            "here": len(listed),
            "clients": len(clients),
            "refusing": sum(node in self._seen and node not in listed for node in clients),
            "last": manifest.name_of(member.id) if member else None,
            "ago": None if latest is None else now - self._last[latest],
        }

    def all_have(self, head: CID, manifest: Manifest) -> bool:
        """Whether every listed client has verified ``head``."""
        return not self.lacking(head, manifest)

    def lacking(self, head: CID | None, manifest: Manifest) -> tuple[int, ...]:
        """The listed clients that have not verified ``head``, in rising order."""
        return tuple(node for node in self.listed(manifest) if self._seen[node].head != head)

    def next_fading(self, members: int) -> float | None:
        """When the next client fades, if it stays silent."""
        first = min(self._seen.values(), key=lambda sighting: sighting.at, default=None)
        return None if first is None else self._fades(first, members)

    def _fades(self, sighting: Sighting, members: int) -> float:
        return self._offline.ends(sighting.at, silent_for(members, self._away_after))

"""Which member had which signing key, and where in a run. Two records prove something about a member only if they are
signed with its own key."""

from __future__ import annotations

from protocol.blocks.cid import BlockError, BlockSource
from protocol.federation.manifest import Manifest
from protocol.records.bodies import Ack, Body, Chained, Dispatch, Reply, Vote
from protocol.records.equivocation import Equivocation
from protocol.records.signed_records import read_record


class KeyHistory:
    """The signing keys of a run's members, by position: a member has each from one height to the next."""

    def __init__(self) -> None:
        self._since: dict[bytes, list[tuple[int, bytes]]] = {}
        """By member: from which height on it had which key. The key is empty while it was not a member."""

    def take(self, height: int, manifest: Manifest) -> None:
        """``manifest`` is in force after the record at ``height``, which is higher than any before."""
        for member in {*self._since, *manifest.members}:
            listed = manifest.members.get(member)
            key = b"" if listed is None else listed.signing
            since = self._since.setdefault(member, [])
            if not since or since[-1][1] != key:
                since.append((height, key))

    def proves(self, found: Equivocation, source: BlockSource) -> bool:
        """Whether the key that signed both records belonged to the member that they name, at their place.

        For a record of the chain the key in force before it counts, for an ack the one after it, and for a vote the one
        after the head that it names. A reply may be signed from its dispatch on, which ``source`` may have.
        """
        match found.first.body:
            case Vote(height=one) if isinstance(found.second.body, Vote):
                return self._had(found, *sorted((one, found.second.body.height)))
            case Chained(height=height):
                return self._had(found, height - 1, height - 1)
            case Ack(height=height):
                return self._had(found, height, height)
            case _:
                bodies = (found.first.body, found.second.body)
                return self._had(found, min(_dispatched(body, source) for body in bodies) - 1, None)

    def ever_had(self, member: bytes, key: bytes) -> bool:
        """Whether ``key`` belonged to a member at some place."""
        return any(known == key for _, known in self._since.get(member, ()))

    def had(self, member: bytes, key: bytes, height: int) -> bool:
        """Whether ``key`` belonged to a member after the record at ``height``."""
        return self._had_between(member, key, height, height)

    def _had(self, found: Equivocation, first: int, last: int | None) -> bool:
        return self._had_between(found.by, found.key, first, last)

    def _had_between(self, member: bytes, key: bytes, first: int, last: int | None) -> bool:
        since = self._since.get(member, [])
        for number, (begin, known) in enumerate(since):
            end = since[number + 1][0] - 1 if number + 1 < len(since) else None
            if known == key and (last is None or begin <= last) and (end is None or first <= end):
                return True
        return False


def _dispatched(body: Body, source: BlockSource) -> int:
    """The height of the dispatch that a reply answers; 0 if the dispatch is not here."""
    if not isinstance(body, Reply):
        return 0
    try:
        dispatch = read_record(body.dispatch, source).body
    except BlockError:
        return 0
    return dispatch.height if isinstance(dispatch, Dispatch) and dispatch.run == body.run else 0

"""Up to where a run is settled, as far as its acks show (`protocol.votes.settling`).

A leader confirms what it signs. An ack of a later term settles nothing of an earlier one by itself: records of an older
term are settled together with one of the newer.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from protocol.chain.chain import Chain, Step
from protocol.federation.voters import voters_of
from protocol.records.bodies import Role
from protocol.votes.electorate import Count, Electorate
from protocol.votes.settling import settled_height
from protocol.wire.announcements import Position


class Settling:
    """Takes in a chain record by record, and the acks that confirm it. Memory grows with the members."""

    def __init__(self) -> None:
        self.height: int | None = None
        """The height up to which the run is settled; None if nothing is."""
        self.of_terms: dict[int, int] = {}
        """The same for the own records of each term that has settled ones."""
        self.acked: dict[int, int] = {}
        """How many members have confirmed a record of each term."""
        self._electorate: Electorate | None = None
        self._roster = -1
        """The height of the newest roster."""
        self._unsettled: frozenset[frozenset[bytes]] = frozenset()
        """Voters before rosters that were not settled when the next one came: they may have elected another leader."""
        self._leader = b""
        self._newest: Position | None = None
        self._confirmed: dict[bytes, Position] = {}
        """The newest record of the term that each member has confirmed."""

    def take(self, step: Step, chain: Chain) -> None:
        """``step`` has been appended to ``chain``. The acks that name it come after this."""
        begins = step.took_over or self._newest is None
        if begins or step.manifest_changed:
            self.count()  # by the voters of before
            self._bring(chain, is_roster=step.manifest_changed and self._newest is not None)
        if begins:
            self._confirmed = {}
        assert chain.head is not None  # it has the step
        self._leader, self._newest = chain.by, Position(chain.run, chain.head, chain.height, chain.term)

    def _bring(self, chain: Chain, *, is_roster: bool) -> None:
        """Who decides from here on. Whether a leader waited with a roster until the one before was settled, no record
        tells. So the voters before both count, unless the acks tell it."""
        if is_roster:
            is_settled = self.height is not None and self.height >= self._roster
            before = frozenset() if is_settled or self._electorate is None else self._electorate.before
            self._unsettled, self._roster = before, chain.height
        self._electorate = _electorate(chain, self._unsettled)

    def confirm(self, member: bytes) -> None:
        """A member has confirmed the newest record."""
        assert self._newest is not None  # it was taken in
        if member != self._leader:  # it has what it wrote, and says so only for what others did before
            self._confirmed[member] = self._newest

    def count(self) -> None:
        """Count who has confirmed what of the term by now. To be called once more at the end."""
        if self._newest is None or self._electorate is None:
            return
        term = self._newest.term
        self.acked[term] = len(self._confirmed)
        found = settled_height({**self._confirmed, self._leader: self._newest}, self._electorate, term)
        if found is not None:
            self.of_terms[term] = max(found, self.of_terms.get(term, -1))
            self.height = max(found, -1 if self.height is None else self.height)

    def of_newest(self) -> Count:
        """How many voters have confirmed the newest record, the leader among them."""
        if self._newest is None or self._electorate is None:
            return Count(0, 0, 0)
        by = {member for member, at in self._confirmed.items() if at == self._newest} | {self._leader}
        return self._electorate.count(frozenset(by))


def settled_by(heads: Iterable[tuple[bytes, Position]], chain: Chain) -> int | None:
    """The height up to which the run is settled by the ``heads`` that members have confirmed, all of ``chain``, its
    leaders' own among them. Only the voters of now count."""
    of_terms: dict[int, dict[bytes, Position]] = defaultdict(dict)
    for member, at in sorted(heads, key=lambda each: each[1].height):
        of_terms[at.term][member] = at
    found = (settled_height(confirmed, _electorate(chain), term) for term, confirmed in of_terms.items())
    return max((height for height in found if height is not None), default=None)


def _electorate(chain: Chain, unsettled: frozenset[frozenset[bytes]] = frozenset()) -> Electorate:
    manifest = chain.manifest
    before = unsettled | ({chain.voters_before} if chain.voters_before else frozenset())
    return Electorate(manifest.cid, voters_of(manifest, chain.run), manifest.ids_of(Role.SERVER), before)

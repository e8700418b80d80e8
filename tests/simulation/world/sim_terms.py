"""Watches who leads in which term, and that nothing which is settled is ever lost.

It sees what each peer writes and says, and nothing of what a peer thinks. A record is settled as soon as a majority has
said that it verified a record of the same term at or above it, whether its leader heard of that or not.
"""

from __future__ import annotations

from collections.abc import Sequence

from sim_disk import Disk

from protocol.blocks.cid import CID, Block
from protocol.records.bodies import Chained, Takeover, Vote
from protocol.records.signed_records import parse_record
from protocol.roles.effects import Durable, KeepVote, Store, WriteHead
from protocol.wire.announcements import PeerStatus, Position, Said, VoteReady


class Terms:
    """Of one run. ``voters`` are those of each manifest that may be in force."""

    def __init__(self, voters: Sequence[frozenset[bytes]]) -> None:
        self._voters = voters
        self._records: dict[CID, Chained] = {}
        self._places: dict[tuple[int, int], CID] = {}
        """The records by term and height: in one term there is one history, which grows at its end alone."""
        self._took_over: dict[int, CID] = {}
        """The first record of each term."""
        self._taken_over: dict[tuple[bytes, int], CID] = {}
        """The takeovers that were signed, by server and term."""
        self._confirmed: dict[CID, set[bytes]] = {}
        self._settled: dict[int, CID] = {}
        """The newest settled record of each term."""
        self._contradicted: set[CID] = set()
        """The dispatches that takeovers are against: each may be lost, with all after it, though it is settled."""
        self._votes: dict[tuple[bytes, int], CID] = {}
        self._was_restored = False
        """Whether a home was put back: what nobody had heard of may be written anew."""
        self.forgives = False
        """Whether a member may vote twice in a term that nobody wins: its home was restored."""

    @property
    def takeovers(self) -> int:
        """How many there were, be they lost by now."""
        return max(0, len(self._took_over) - 1)

    # -- what is seen -----------------------------------------------------------------------------------------------

    def kept(self, disk: Disk, effect: Durable) -> None:
        """A peer with this disk has made a step durable."""
        if isinstance(effect, WriteHead):
            self._learn(effect.head, disk)
        elif isinstance(effect, Store) and effect.own:
            self._signed(effect.blocks[0])
        elif isinstance(effect, KeepVote):
            voter = parse_record(effect.vote).body.by
            known = self._votes.setdefault((voter, effect.term), effect.vote.cid)
            if known != effect.vote.cid and not self.forgives:
                raise AssertionError(f"two votes of one member in term {effect.term}")

    def _signed(self, block: Block) -> None:
        """A leader has stored its record; nobody may know it yet."""
        body = None if block.cid.is_raw else parse_record(block).body
        if isinstance(body, Takeover) and self._taken_over.setdefault((body.by, body.term), block.cid) != block.cid:
            raise AssertionError(f"two takeovers of one server in term {body.term}")

    def said(self, by: bytes, disk: Disk, body: Said) -> None:
        """A member says this."""
        if isinstance(body, VoteReady):
            kept = disk.votes.get(body.run)
            is_older = kept is not None and kept.term > body.term  # it is given late: another was kept since
            if kept is None or body.record != (self._votes.get((by, body.term)) if is_older else kept.vote.cid):
                raise AssertionError(f"a vote in term {body.term} is given before it is kept")
        elif isinstance(body, PeerStatus) and body.position is not None and body.position.head in self._records:
            self._confirms(by, disk, body.position)

    def forget(self, by: bytes) -> None:
        """A member's home was put back: it may have forgotten what it confirmed. What is settled stays so."""
        self._was_restored = True
        for members in self._confirmed.values():
            members.discard(by)

    def _learn(self, head: CID, disk: Disk) -> None:
        link: CID | None = head
        terms = len(self._took_over)
        while link is not None and link not in self._records:
            body = parse_record(Block(link, disk.get(link))).body
            assert isinstance(body, Chained)
            self._records[link] = body
            if self._places.setdefault((body.term, body.height), link) != link and not self._was_restored:
                raise AssertionError(f"two records at height {body.height} of term {body.term}")
            if body.prev is None or isinstance(body, Takeover):
                self._begins(link, body)
            link = body.prev
        if len(self._took_over) > terms:
            self.check()

    def _begins(self, first: CID, body: Chained) -> None:
        if self._took_over.setdefault(body.term, first) != first:
            raise AssertionError(f"two leaders in term {body.term}")
        if isinstance(body, Takeover) and body.against is not None:
            self._contradicted.add(body.against)

    def _confirms(self, by: bytes, disk: Disk, position: Position) -> None:
        promised = disk.votes.get(position.run)
        if promised is not None and promised.term > position.term and not self._is_told_again(by, promised, position):
            raise AssertionError(f"who has voted in term {promised.term} confirms a record of term {position.term}")
        link: CID | None = position.head
        while link is not None and self._records[link].term == position.term:
            confirmed = self._confirmed.setdefault(link, set())
            if by in confirmed:
                return
            confirmed.add(by)
            if all(len(confirmed & each) > len(each) // 2 for each in self._voters):
                self._settles(link)
            link = self._records[link].prev

    def _is_told_again(self, by: bytes, promised: KeepVote, position: Position) -> bool:
        """Whether a leader says what it wrote before its vote, and the vote names, or a server that has won says what
        its takeover will follow: neither confirms anything by that."""
        vote = parse_record(promised.vote).body
        assert isinstance(vote, Vote)
        return by in (self._records[position.head].by, vote.candidate) and vote.head == position.head

    # -- what must be true after it ---------------------------------------------------------------------------------

    def _settles(self, record: CID) -> None:
        term, height = self._records[record].term, self._records[record].height
        known = self._settled.get(term)
        if known is None or self._records[known].height < height:
            self._settled[term] = record
            self.check()

    def check(self) -> None:
        """What is settled is in the chain of each later leader."""
        for term, settled in self._settled.items():
            for later, first in self._took_over.items():
                kept = self._surely(settled)
                if later > term and not self._is_before(kept, first):
                    height = self._records[kept].height
                    raise AssertionError(
                        f"term {later} goes on without record {height} of term {term}, which is settled"
                    )

    def _surely(self, settled: CID) -> CID:
        """The newest record up to a settled one that no takeover may lose."""
        kept, link = settled, self._records[settled].prev
        at = settled
        while link is not None:
            kept = link if at in self._contradicted else kept
            at, link = link, self._records[link].prev
        return kept

    def _is_before(self, record: CID, later: CID) -> bool:
        height = self._records[record].height
        link: CID | None = later
        while link is not None and self._records[link].height > height:
            link = self._records[link].prev
        return link == record

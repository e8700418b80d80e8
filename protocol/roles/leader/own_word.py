"""What a leader says of messages that another server has sent and that are open: that its own app came to the same.

It may have been elected before it had said so as a standby, and nobody else may be here who can. Clients count no word
of a leader about what that sent itself; of what another sent, it is a witness as any server is. Its word is about its
own takeover, and so about all before that: an ack in an older term would break the promise that a vote is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, MutableMapping

from protocol.blocks.cid import CID, Block
from protocol.blocks.listing import pack
from protocol.records.bodies import Comparison, Recomputed, RecomputedAck
from protocol.records.signed_records import parse_record
from protocol.replies.checks_and_limits import is_update
from protocol.roles.electing.leadership import Leadership
from protocol.roles.following.told_acks import ToldAcks
from protocol.roles.leader.forgotten_records import ForgottenRecords
from protocol.roles.leader.leader_states import LeaderState
from protocol.roles.leader.record_writer import RecordWriter
from protocol.roles.machine import Machine
from protocol.roles.standby.standby_plan import SignedAcks
from protocol.witnesses.awaited_witnesses import AwaitedWitnesses


class OwnWord:
    """It is signed once a term, after the app has been through all that was recorded before that; and announced again
    and again as long as such a message is open."""

    def __init__(
        self,
        kept: MutableMapping[CID, SignedAcks],
        remembers: Callable[[CID], bool],
        witnesses: AwaitedWitnesses,
        forgotten: ForgottenRecords,
        leadership: Leadership,
        writer: RecordWriter,
        machine: Machine[LeaderState],
    ) -> None:
        """``kept`` is what this peer has signed of what others recorded, by run; ``remembers(run)`` whether its home
        has forgotten nothing of that."""
        self._kept = kept
        self._remembers = remembers
        self._witnesses = witnesses
        self._forgotten = forgotten
        self._leadership = leadership
        self._writer = writer
        self._machine, self._newest = machine, machine.newest
        self._told = told = ToldAcks(machine)
        told.is_awaited, told.is_for_all, told.is_kept = self._is_awaited, lambda: True, self._is_signed
        self._telling: Block | None = None
        """The word that is announced."""
        self._began_here: int | None = None
        """The term that this process began: none before it can have given a word in that."""
        self.begins()

    # -- what the app does ------------------------------------------------------------------------------------------

    def begins(self, next: int = 1, since: int = 1, given: Iterable[int] = ()) -> None:
        """An app process begins its replay, or goes on before the record at height ``next``: since the one at ``since``
        it has done what is recorded, but for the dispatches ``given``, which it has not compared yet."""
        self._next, self._since, self._given = next, since, set(given)

    def given(self, height: int, *, compares: bool) -> None:
        """It is given the record at a height, and perhaps compares what it does."""
        self._next = height + 1
        if compares:
            self._given.add(height)

    def compared(self, height: int, *, is_equal: bool) -> None:
        """It has compared."""
        self._given.discard(height)
        if not is_equal:
            self._since = max(self._since, height + 1)

    # -- what follows -----------------------------------------------------------------------------------------------

    def took_over(self) -> None:
        """This process has begun the term that the run is in."""
        self._began_here = self._writer.chain.term

    def _owed(self) -> int | None:
        """The height of the newest dispatch of another server that clients may wait to train on; None if there is
        none."""
        chain, ours = self._writer.chain, self._newest.author.member
        if chain.head is None or chain.by != ours or chain.closed or not chain.witnesses_needed:
            return None
        open = chain.open.values()
        return max((each.height for each in open if each.leader != ours and is_update(each.type)), default=None)

    def _is_awaited(self) -> bool:
        return self._owed() is not None

    def go_on(self, now: float) -> None:
        """Give our word, if one is owed and we may, and no record is on its way to disk."""
        if self._machine.state is not LeaderState.LEADING or (owed := self._owed()) is None:
            return
        kept = self._kept.setdefault(self._writer.chain.run, SignedAcks())
        if kept.newest is not None and self._covers(kept.newest, owed):
            self._tell(kept.newest, now)
        elif self._may_sign(kept, now) and self._has_recomputed(owed):
            self._sign(kept, now)

    def _covers(self, block: Block, height: int) -> bool:
        """Whether an ack of ours vouches for the record at a height of our chain."""
        ack = parse_record(block).body
        assert isinstance(ack, RecomputedAck)
        stands = ack.height < len(self._writer.records) and self._writer.records[ack.height] == ack.head
        is_equal = ack.recomputed.comparison is Comparison.EQUAL
        return stands and is_equal and ack.recomputed.since <= height <= ack.height

    def _tell(self, block: Block, now: float) -> None:
        if self._telling != block:
            self._telling = block
            self._count(block)
            self._told.tell(self._writer.chain.run, block, now)

    def _may_sign(self, kept: SignedAcks, now: float) -> bool:
        """Whether we may give one. As a standby, we sign nothing while we know a newer manifest than the run has."""
        chain = self._writer.chain
        remembers = self._began_here == chain.term or not self._newest.author.session or self._remembers(chain.run)
        is_first = (chain.term, self._height) > kept.acked
        has_contradicted = kept.contradicted is not None and kept.contradicted in self._writer.records
        is_behind = self._newest.manifest.cid != chain.manifest.cid
        if not remembers or not is_first or has_contradicted or is_behind:
            return False
        return self._forgotten.may_sign(now) and self._leadership.may_append(now)

    def _has_recomputed(self, height: int) -> bool:
        """Whether our app has done what is recorded there, and all that was before our term."""
        is_through = self._next >= self._writer.term_began and not any(given < self._height for given in self._given)
        return is_through and self._since <= height

    @property
    def _height(self) -> int:
        """Of the record that our word is about: our takeover, or a roster of ours after it, which says by which key."""
        return max(self._writer.term_began, self._writer.chain.manifest_since)

    def _sign(self, kept: SignedAcks, now: float) -> None:
        chain, height, (replies, _) = self._writer.chain, self._height, pack([])
        ack = RecomputedAck(
            by=self._newest.author.member,
            time=now,
            run=chain.run,
            term=chain.term,
            height=height,
            head=self._writer.records[height],
            replies=replies,
            recomputed=Recomputed(since=self._since, comparison=Comparison.EQUAL, message=None, content=None),
        )
        kept.keep(ack)
        self._told.sign(ack, chain.manifest, lambda _now: None)

    def _is_signed(self, run: CID, block: Block, now: float) -> None:
        """It is on disk."""
        ack = parse_record(block).body
        assert isinstance(ack, RecomputedAck)
        self._kept[run].keep(ack, block)
        self._telling = block
        self._count(block)

    def _count(self, block: Block) -> None:
        """The clients' time runs by it, as by any server's."""
        self._witnesses.take(parse_record(block), block)

    # -- telling ----------------------------------------------------------------------------------------------------

    def announce_soon(self, now: float) -> None:
        """Somebody has come who may have missed it."""
        self._told.announce_soon(now)

    def due(self, now: float) -> None:
        """Announce it, if it is time."""
        self._told.announce(now)

    def moments(self) -> Iterator[float]:
        """When it is to be announced."""
        yield from self._told.moments()

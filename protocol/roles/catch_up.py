"""Catching up with a run: from a head somebody announced to a chain verified record by record.

An unknown head is walked back to what is known (`protocol.roles.catching_up.walk_back`). Then the records are appended
forward, by every rule.

The run's leader is the one of the newest takeover that was verified. Another server may announce a head in a higher
term: it was elected, or it lies. So its way is walked beside that of the leader, and followed once a takeover on it is
verified on a copy of the chain. If it leads around records that we had verified, they are lost (`Fork`).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from protocol.blocks.cid import CID, Block, BlockError, MemoryBlocks, ReadBlocks, checked_block
from protocol.blocks.root_hints import root_among
from protocol.chain.chain import Chain, Step
from protocol.chain.closure import missing
from protocol.chain.takeover import holds_without_removed
from protocol.federation.manifest import Manifest
from protocol.records.bodies import Chained, Close
from protocol.records.signed_records import parse_record
from protocol.roles.catching_up.held_records import CLAIM_BYTES, HELD_BYTES, ClaimedRecords, HeldRecords
from protocol.roles.catching_up.walk_back import MAX_BEHIND, Forked, Lost, WalkBack
from protocol.roles.effects import Store, WriteHead
from protocol.roles.outbox import Outbox
from protocol.votes.voter import rank
from protocol.wire.announcements import Position

__all__ = ["AHEAD", "HELD_BYTES", "MAX_BEHIND", "CatchUp", "Fork", "Forked", "Lost", "keep_step"]

AHEAD: Final = 32
"""Records fetched side by side."""

REMEMBERED: Final = 16
"""Heights below the head at which the chain is remembered as it was. A takeover that forks before them has the run
verified from its beginning: a leader that cannot reach a majority appends nothing for long."""

MAX_CLAIMED: Final = 1 << 14
"""Records that a way of a server may have that does not lead the run as far as we know."""


@dataclass(frozen=True, slots=True)
class Fork:
    """A takeover leads around the newest records that we had verified: they are lost."""

    height: int
    """Of the newest record that stays; -1 if the run is verified anew, from its beginning."""
    lost: Position
    """The head that we had."""
    against: CID | None = None
    """The dispatch that most servers contradict, if that is why: nobody has led around it yet."""


@dataclass(slots=True)
class _Claim:
    """What a server says that does not lead the run as far as we know: a head in a higher term."""

    way: WalkBack
    held: HeldRecords
    trial: Chain | None = None
    """On which its takeover is verified, once its way is found."""
    newer: Position | None = None
    """The newest head that it has announced since."""

    def wanted(self) -> tuple[CID, ...]:
        """The records to fetch now."""
        return _nearest(self.way, self.held, -1 if self.trial is None else self.trial.height)


class CatchUp:
    """One run, caught up with. `steps` does what is possible; `wanted` says what to fetch meanwhile."""

    def __init__(
        self,
        run: CID,
        server: bytes,
        manifest: Manifest,
        manifest_blocks: Mapping[CID, bytes],
        chain: Chain,
        held_bytes: int = HELD_BYTES,
        claimed: ClaimedRecords | None = None,
    ) -> None:
        """``server`` says that it leads the run. ``manifest`` is the newest known, ``manifest_blocks`` all versions of
        it; they may be replaced and grow. ``chain`` is what is verified of the run so far. ``held_bytes`` of fetched
        blocks are kept in memory at most. ``claimed`` are kept of claims that came to nothing so far."""
        self.run = run
        self.server = server
        self.chain = chain
        self.manifest = manifest
        self._manifest_blocks = manifest_blocks
        self.forks: Callable[[Fork], None] | None = None
        """Called when records are lost; `chain` is at the fork then. None: no fork is followed."""
        self.ended: Callable[[bytes, str], None] = lambda _server, _why: None
        """Called with a server whose claim was looked into, and why it has come to nothing; empty if it has not."""
        self._way: WalkBack | None = None
        """To what the leader said."""
        self._newer: Position | None = None
        self._held = HeldRecords(held_bytes)
        self._announced: Sequence[Block] = ()
        """What came with the leader's newest announcement of a head."""
        self._claims: dict[bytes, _Claim] = {}
        """By server: one at a time."""
        self._claimed = claimed or ClaimedRecords()
        self._past: deque[Chain] = deque(maxlen=REMEMBERED)
        """The chain as it was, the newest last."""
        self._terms: list[tuple[int, int]] = []
        """The height at which each term began, and the term."""
        self.laid_down: set[CID] = set()
        """Dispatches that most servers contradict: no chain is followed that has one of them."""
        self._laid_down_from: dict[int, int] = {}
        """The terms in which a record was laid down, and from which height on."""

    @property
    def caught_up(self) -> bool:
        """Whether the chain is at the newest head heard of."""
        return self._way is None and self.chain.head is not None

    @property
    def leader(self) -> bytes:
        """The member that leads the run: as the newest takeover has it, or the run record; and while is caught up with
        what another said that leads it, that one."""
        return self.server

    @property
    def is_idle(self) -> bool:
        """Whether nothing is being caught up with."""
        return self._way is None

    @property
    def records_between(self) -> int:
        """How many records lie between what is known and what is caught up with, as far as that was walked back."""
        ways = (self._way, *(claim.way for claim in self._claims.values()))
        return sum(len(way.path) for way in ways if way is not None)

    @property
    def is_behind(self) -> bool:
        """Whether the newest manifest is not in force in the run yet: a member that it takes out could still read what
        is answered now."""
        return self.manifest.version > self.chain.manifest.version

    @property
    def position(self) -> Position | None:
        """The newest head verified."""
        chain = self.chain
        return None if chain.head is None else Position(self.run, chain.head, chain.height, chain.term)

    @property
    def newest(self) -> Position | None:
        """The newest head heard of from the leader, verified or not."""
        return self._newer or (self.position if self._way is None else self._way.target)

    def rival(self, position: Position) -> CID | None:
        """The record we have verified in the place of ``position``, its term and height, if that is another than it
        names.

        None also if it lies too far back: only the newest links are remembered."""
        ours = self.record_at(position.term, position.height)
        return None if ours == position.head else ours

    def record_at(self, term: int, height: int) -> CID | None:
        """The record verified in this place; None if there is none, or it lies too far back."""
        back, recent = self.chain.height - height, self.chain.recent
        return recent[-1 - back] if 0 <= back < len(recent) and self._term_at(height) == term else None

    def _term_at(self, height: int) -> int:
        began = next((term for at, term in reversed(self._terms) if at <= height), None)
        return began or (1 if self._terms else self.chain.term)

    # -- hearing ----------------------------------------------------------------------------------------------------

    def hear(self, position: Position, blocks: Sequence[Block]) -> None:
        """The leader announced a head of this run; ``blocks`` came with it."""
        if rank(position) <= self._rank or self.has_laid_down(position):
            return
        if self._way is None:
            self._aim(position)
        elif rank(position) > rank(self._way.target) and (self._newer is None or rank(position) > rank(self._newer)):
            self._newer = position
        self._announced = blocks
        self._take_inline(position.head, blocks, self._held)

    def root_of(self, content: CID) -> Block | None:
        """The root block of a content that a verified record names, if it came with the newest head."""
        return root_among(content, self._announced)

    def may_claim(self, server: bytes, position: Position) -> bool:
        """Whether a head is worth a look that a server announces which does not lead the run, as far as we know: it is
        in a higher term, and no other of its heads is looked into."""
        is_higher = position.term > self.chain.term and not self.has_laid_down(position)
        return is_higher and server not in self._claims and self.forks is not None

    def has_laid_down(self, position: Position) -> bool:
        """Whether a head is of a chain with a dispatch that we have laid down, since one server leads a term."""
        return position.height >= self._laid_down_from.get(position.term, position.height + 1)

    def claim(self, server: bytes, position: Position, blocks: Sequence[Block]) -> None:
        """Look into a head that `may_claim` says is worth it; `ended` is called once it was."""
        claim = self._claims[server] = _Claim(WalkBack(position, MAX_CLAIMED), self._claimed.take(server))
        self._take_inline(position.head, blocks, claim.held)

    def note(self, server: bytes, position: Position) -> None:
        """A server whose head is looked into announces another: nobody may say that again."""
        claim = self._claims.get(server)
        if claim is not None and not self.has_laid_down(position):
            claim.newer = max(claim.newer or position, position, key=rank)

    @property
    def _rank(self) -> tuple[int, int]:
        return (0, -1) if self.chain.head is None else (self.chain.term, self.chain.height)

    # -- what is here -----------------------------------------------------------------------------------------------

    def wanted(self) -> tuple[CID, ...]:
        """The records to fetch now."""
        others = (cid for claim in self._claims.values() for cid in claim.wanted())
        return tuple(dict.fromkeys((*self._wanted(), *others)))

    def _wanted(self) -> tuple[CID, ...]:
        return () if self._way is None else _nearest(self._way, self._held, self.chain.height)

    def fetched(self, cid: CID, blocks: Mapping[CID, bytes]) -> None:
        """A wanted record and what it needs are here."""
        if cid in self._wanted():
            self._held.hold(cid, blocks)
        for claim in self._claims.values():
            if cid in claim.wanted():
                claim.held.hold(cid, blocks)

    def not_fetched(self, cid: CID, why: str) -> bool:
        """A wanted record cannot be had now. Whether what the leader announced has to be given up for that."""
        for server in [server for server, claim in self._claims.items() if cid in claim.wanted()]:
            self.put_aside(server, why)
        return cid in self._wanted()

    def put_aside(self, server: bytes, why: str) -> None:
        """Look no further into what a server claims. What was fetched of that is kept for its next claim."""
        if (claim := self._claims.get(server)) is not None:
            self._claimed.put_aside(server, claim.held)
            self._drop(server, why)

    def give_up(self) -> None:
        """What the leader announced cannot be had now; its next announcement says it again."""
        self._end()

    def _take_inline(self, cid: CID, inline: Sequence[Block], held: HeldRecords) -> None:
        """Keep what came with an announcement, if it is all that verifying the record needs."""
        blocks = {block.cid: block.data for block in inline}
        try:
            source = ReadBlocks(MemoryBlocks(blocks, self._manifest_blocks))
            complete = cid in blocks and not missing(Block(cid, blocks[cid]), source, self.manifest.cid, Chained)
        except BlockError:
            return  # what was announced is checked when it is fetched
        if complete:  # and no others of an announcement are kept, whatever else came
            held.hold(cid, {cid: blocks[cid], **{need: blocks[need] for need in source.read if need in blocks}})

    # -- back -------------------------------------------------------------------------------------------------------

    def _aim(self, position: Position) -> None:
        self._way, self._newer = WalkBack(position), None

    def _end(self) -> None:
        """Nothing is caught up with now."""
        self._way = self._newer = None
        if self.chain.head is not None:
            self.server = self.chain.by

    def _walk(self, way: WalkBack, held: HeldRecords) -> bool:
        """Walk back as far as what is here allows. Whether the way has its start."""
        while way.start is None:
            if (blocks := held.get(way.next)) is None:
                return False
            record = parse_record(Block(way.next, blocks[way.next]))
            way.look(record, self._starts(way.target.term), self.manifest, self.chain.well_signed)
        return True

    def _starts(self, term: int) -> dict[int, Chain]:
        """The chains that a way to a head of this term may go on from: ours, and in a higher term also what it was
        before, down to the empty chain."""
        starts = {self.chain.height: self.chain}
        if self.forks is not None and term > self.chain.term:
            starts.update((chain.height, chain) for chain in reversed(self._past))
            starts.setdefault(-1, self._empty())
        return starts

    def _empty(self) -> Chain:
        return Chain(self.chain.federation, self.chain.keys.reader, self.chain.well_signed)

    # -- forward ----------------------------------------------------------------------------------------------------

    def steps(self) -> Iterator[tuple[Step, Mapping[CID, bytes]]]:
        """Walk and append as far as what is here allows: each new step and the blocks it was checked with. Versions of
        the manifest are among them: a run links them, so they are kept with it, though our home has them, too.

        Raises:
            Lost: what the leader announced cannot be followed; what came before it was appended.
        """
        yield from self._forward()
        for server in list(self._claims):
            if server in self._claims and self._is_proven(server, self._claims[server]):
                self._adopt(server)
                yield from self._forward()

    def _forward(self) -> Iterator[tuple[Step, Mapping[CID, bytes]]]:
        while (way := self._way) is not None:
            try:
                if way.target.height > self.chain.height + MAX_BEHIND:
                    raise Lost(f"it is more than {MAX_BEHIND} records ahead of what is known")
                if not self._walk(way, self._held):
                    return
                if way.start is not self.chain:  # the leader is the same, and was elected anew
                    self._claims[self.server] = claim = _Claim(way, HeldRecords(CLAIM_BYTES))
                    claim.held.take_all(self._held)
                    self._end()
                    return
                step = self._append_next(way)
            except BlockError as error:
                raise Lost(str(error)) from error
            if step is None:
                return
            yield step

    def _check_not_laid_down(self, cid: CID) -> None:
        if cid in self.laid_down:
            raise Lost(f"most servers contradict {cid}")

    def _append_next(self, way: WalkBack) -> tuple[Step, Mapping[CID, bytes]] | None:
        """Append the next record, if it is here. At the target, aim at the newest head heard meanwhile."""
        chain = self.chain
        cid = way.at(chain.height + 1)
        if cid is None or (blocks := self._held.get(cid)) is None:
            return None
        self._check_not_laid_down(cid)
        before = chain.copy() if self.forks is not None else None
        source = ReadBlocks(MemoryBlocks(blocks, self._manifest_blocks))
        step = chain.append_block(Block(cid, blocks[cid]), source)
        self._held.drop(cid)
        if before is not None:
            self._past.append(before)
        if step.took_over:
            self._terms.append((chain.height, chain.term))
        if way.at(chain.height + 1) is None:
            newer = self._newer
            self._end()
            if newer is not None and rank(newer) > self._rank:
                self._aim(newer)
        return step, {**blocks, **source.read}

    # -- other servers ----------------------------------------------------------------------------------------------

    def _is_proven(self, server: bytes, claim: _Claim) -> bool:
        """Whether a takeover in a higher term is verified on the way to a head that a server claimed."""
        way, chain = claim.way, self.chain
        if way.target.term <= chain.term:  # another was elected since
            self._drop(server, "")
            return False
        try:
            if not self._walk(way, claim.held):
                return False
            assert way.start is not None
            trial = claim.trial = claim.trial or way.start.copy()
            while True:
                cid = way.at(trial.height + 1)
                assert cid is not None  # the last one has a higher term
                if (blocks := claim.held.get(cid)) is None:
                    return False
                self._check_not_laid_down(cid)
                step = trial.append_block(Block(cid, blocks[cid]), MemoryBlocks(blocks, self._manifest_blocks))
                if step.took_over and trial.term > chain.term:
                    if self._holds_around_rosters(step, trial):
                        return True
                    if trial.term == way.target.term:  # else whoever was elected later may have enough votes
                        raise Lost("it leaves out a roster, and too few voted for it that are still listed after that")
        except (Lost, BlockError) as error:
            self._drop(server, str(error))
            return False

    def _holds_around_rosters(self, takeover: Step, trial: Chain) -> bool:
        """Whether a takeover is not one by which members that a roster removes, which we have verified, bring a server
        to the lead from before it."""
        if self.chain.head is None or trial.manifest.version >= self.chain.manifest.version:
            return True
        return holds_without_removed(takeover.votes, self.run, trial.manifest, self.chain.manifest)

    def _adopt(self, server: bytes) -> None:
        """Follow a server that was elected; what leads elsewhere than its way is lost."""
        claim = self._claims.pop(server)
        self._claimed.forget()  # of lower terms, or it is fetched again
        way, base, lost = claim.way, self._last_on(claim.way), self.position
        self._newer, self.server = claim.newer, server
        self._held.take_all(claim.held)
        self.ended(server, "")
        if base is self.chain:
            self._way, way.start = way, base
            return
        assert lost is not None
        way.start = base
        self._go_back(base, way if base.head is not None else WalkBack(way.target))
        assert self.forks is not None
        self.forks(Fork(base.height, lost))

    def _go_back(self, base: Chain, way: WalkBack | None) -> None:
        """Go on from ``base``, which the chain was once, on ``way``."""
        for other in list(self._claims):  # their ways may go on from what is lost; they say it again
            self._drop(other, "")
        self.chain, self._way = base, way
        self._past = deque((each for each in self._past if each.height < base.height), REMEMBERED)
        self._terms = [(height, term) for height, term in self._terms if height <= base.height]

    def lay_down(self, against: CID, before: CID, height: int) -> Position:
        """Go back to ``before``, the record before a dispatch in the chain that most servers contradict, and follow no
        chain that has that dispatch. ``height`` is the dispatch's. Returns where ``before`` is."""
        assert self.record_at(self._term_at(height), height) in (against, None)
        lost = self.position
        assert lost is not None
        self.laid_down.add(against)
        for term in {self._term_at(height), *(term for at, term in self._terms if at > height)}:
            self._laid_down_from[term] = min(height, self._laid_down_from.get(term, height))
        newest = Position(self.run, before, height - 1, self._term_at(height - 1))
        base = next((chain for chain in self._past if chain.head == before), None) or self._empty()
        self._go_back(base, None if base.head is not None else WalkBack(newest))
        self._newer = None
        if base.head is not None:
            self.server = base.by
        assert self.forks is not None
        self.forks(Fork(base.height, lost, against))
        return newest

    def take_up_again(self, against: CID) -> None:
        """A dispatch that was laid down may be followed again: too few servers contradict it that still count."""
        self.laid_down.discard(against)
        self._laid_down_from.clear()

    def _last_on(self, way: WalkBack) -> Chain:
        """The newest of what we have verified that is on a way; the empty chain if that is too long ago, or the run
        was closed: what was laid down then is begun anew."""
        if self.chain.head is None:
            return self.chain
        verified = () if self.chain.closed else (self.chain, *reversed(self._past))
        return next((chain for chain in verified if way.is_over(chain)), None) or self._empty()

    def _drop(self, server: bytes, why: str) -> None:
        del self._claims[server]
        self.ended(server, why)


def _nearest(way: WalkBack, held: HeldRecords, height: int) -> tuple[CID, ...]:
    """The records that are fetched now of a way that is verified up to ``height``."""
    ahead = (way.at(each) for each in range(height + 1, height + 1 + AHEAD))
    nearest = [way.next] if way.start is None else [cid for cid in ahead if cid is not None]
    return tuple(cid for cid in nearest if cid not in held)


def keep_step(
    outbox: Outbox,
    run: CID,
    step: Step,
    blocks: Mapping[CID, bytes],
    then: Callable[[float], None] = lambda _: None,
    *,
    moves_head: bool = True,
) -> None:
    """Have a verified record on disk and, if it ``moves_head``, the run's head after it; ``then(now)`` runs when both
    are."""
    body = step.record.body
    assert isinstance(body, Chained)
    parts = tuple(checked_block(cid, data) for cid, data in blocks.items())
    if not moves_head:
        outbox.must(Store, then, parts, own=False)
        return
    outbox.must(Store, lambda _: None, parts, own=False)
    head, closes = step.record.cid, isinstance(body, Close)
    outbox.must(WriteHead, then, run, head, body.height, body.term, closes, body.by, step.well_signed)

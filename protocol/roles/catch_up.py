"""Catching up with a run: from a head somebody announced to a chain verified record by record.

An unknown head is walked back to what is known, hop by hop; at each hop the height falls by one, the run is the same
and a server signed. From an index record the walk jumps over the 256 records it links. Then the records are appended
forward, by every rule. Only CIDs are kept of what lies between, so that memory stays small however long the chain.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final

from crypto.dsse import BadSignature
from protocol.blocks.cid import CID, Block, BlockError, MemoryBlocks, ReadBlocks, checked_block
from protocol.chain.chain import Chain, Step
from protocol.chain.closure import missing
from protocol.federation.manifest import Manifest
from protocol.records.bodies import Chained, Close, Index, Role
from protocol.records.signed_records import Record, parse_record
from protocol.roles.effects import Store, WriteHead
from protocol.roles.outbox import Outbox
from protocol.wire.announcements import Position

AHEAD: Final = 32
"""Records fetched side by side."""

MAX_BEHIND: Final = 1 << 20
"""How far a head may be ahead of what is known: walking back takes memory for a CID each."""

HELD_BYTES: Final = 32 << 20
"""Fetched blocks kept in memory; what falls out is fetched again."""


class Lost(Exception):
    """A head that cannot be followed: it does not lead to what is known, or breaks a rule. The message says why."""


class Forked(Lost):
    """A head that leads around the newest record we have verified: another record, ``theirs``, is in its place."""

    def __init__(self, ours: CID, theirs: CID, height: int) -> None:
        super().__init__(f"the record at height {height + 1} does not follow the one known at {height}")
        self.ours = ours
        self.theirs = theirs


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
    ) -> None:
        """``server`` says that it leads the run. ``manifest`` is the newest known, ``manifest_blocks`` all versions of
        it; they may be replaced and grow. ``chain`` is what is verified of the run so far. ``held_bytes`` of fetched
        blocks are kept in memory at most."""
        self._most_held = held_bytes
        self.run = run
        self.server = server
        self.chain = chain
        self.manifest = manifest
        self._manifest_blocks = manifest_blocks
        self._target: Position | None = None
        self._newer: Position | None = None
        self._height = -1
        """That the record at the end of the path should have."""
        self._path: list[CID] = []
        """From the target back, newest first; forward, the last one is next."""
        self._connected = False
        self._held: OrderedDict[CID, Mapping[CID, bytes]] = OrderedDict()
        self._held_bytes = 0

    @property
    def caught_up(self) -> bool:
        """Whether the chain is at the newest head heard of."""
        return self._target is None and self.chain.head is not None

    @property
    def leader(self) -> bytes:
        """The member that leads the run: as the run record has it, and before that is here as was said."""
        return self.server if self.chain.head is None else self.chain.by

    @property
    def is_idle(self) -> bool:
        """Whether nothing is being caught up with."""
        return self._target is None

    @property
    def records_between(self) -> int:
        """How many records lie between what is known and the target, as far as it was walked back."""
        return len(self._path)

    @property
    def is_behind(self) -> bool:
        """Whether the newest manifest is not in force in the run yet: a member that it takes out could still read what
        is answered now."""
        return self.manifest.version > self.chain.manifest.version

    @property
    def newest(self) -> Position | None:
        """The newest head heard of, verified or not."""
        if self._newer is not None or self._target is not None:
            return self._newer or self._target
        chain = self.chain
        return None if chain.head is None else Position(self.run, chain.head, chain.height, chain.term)

    def rival(self, position: Position) -> CID | None:
        """The record we have verified at the height of ``position``, if that is another than it names.

        None also if it lies too far back: only the newest links are remembered."""
        back = self.chain.height - position.height
        if not 0 <= back < len(self.chain.recent):
            return None
        ours = self.chain.recent[-1 - back]
        return None if ours == position.head else ours

    def hear(self, position: Position, blocks: Sequence[Block]) -> None:
        """Somebody announced a head of this run; ``blocks`` came with it."""
        if position.height <= self.chain.height:
            return
        if self._target is None:
            self._aim(position)
        elif position.height > self._target.height and (self._newer is None or position.height > self._newer.height):
            self._newer = position
        self._take_inline(position.head, blocks)

    def fetched(self, cid: CID, blocks: Mapping[CID, bytes]) -> None:
        """A wanted record and what it needs are here."""
        self._hold(cid, blocks)

    def give_up(self) -> None:
        """The target cannot be had now; the next announcement sets another."""
        self._target = self._newer = None
        self._path = []

    def wanted(self) -> tuple[CID, ...]:
        """The records to fetch now."""
        if self._target is None:
            return ()
        nearest = self._path[-AHEAD:] if self._connected else self._path[-1:]
        return tuple(cid for cid in reversed(nearest) if cid not in self._held)

    def steps(self) -> Iterator[tuple[Step, Mapping[CID, bytes]]]:
        """Walk and append as far as what is here allows: each new step and the blocks it was checked with.

        Raises:
            Lost: the head cannot be followed; what came before it was appended.
        """
        while self._target is not None:
            try:
                if self._target.height > self.chain.height + MAX_BEHIND:
                    raise Lost(f"height {self._target.height} is more than {MAX_BEHIND} records ahead of what is known")
                if not self._connected and not self._walk():
                    return
                step = self._append_next() if self._connected else None
            except BlockError as error:
                raise Lost(str(error)) from error
            if step is not None:
                yield step
            elif self._connected:
                return

    # -- back -------------------------------------------------------------------------------------------------------

    def _aim(self, position: Position) -> None:
        self._target, self._newer = position, None
        self._path = [position.head]
        self._height = position.height
        self._connected = False

    def _walk(self) -> bool:
        """Take the hop at the end of the path; whether its record is here."""
        cid = self._path[-1]
        if cid not in self._held:
            return False
        record = parse_record(Block(cid, self._held[cid][cid]))
        body = self._check_hop(record)
        if body.height == self.chain.height + 1:
            if body.prev != self.chain.head and body.prev is not None and self.chain.head is not None:
                raise Forked(self.chain.head, body.prev, self.chain.height)
            self._connected = True
        elif isinstance(body, Index) and body.records and body.records[-1] == body.prev:
            self._jump(body)
        else:
            assert body.prev is not None
            self._path.append(body.prev)
            self._height = body.height - 1
        return True

    def _check_hop(self, record: Record) -> Chained:
        body = record.body
        if not isinstance(body, Chained):
            raise Lost(f"{record.cid} is a {body.TYPE}, which is in no chain")
        if body.height != self._height or (body.prev is None) != (body.height == 0):
            raise Lost(f"{record.cid} claims height {body.height}, and {self._height} is next")
        if (body.run or record.cid) != self.run:
            raise Lost(f"{record.cid} is of another run")
        leader = self.manifest.members.get(body.by)
        if leader is None or Role.SERVER not in leader.roles:
            raise Lost(f"{record.cid} is by no server")
        try:
            record.check_signatures(self.chain.well_signed)
        except BadSignature as error:
            raise Lost(f"{record.cid}: {error}") from error
        return body

    def _jump(self, index: Index) -> None:
        """Go on from the oldest record that an index links, or from the one after ours."""
        known = self.chain.height + 1
        first = index.height - len(index.records)
        links = index.records[max(0, known - first) :]
        self._path.extend(reversed(links))
        self._height = max(first, known)

    # -- forward ----------------------------------------------------------------------------------------------------

    def _append_next(self) -> tuple[Step, Mapping[CID, bytes]] | None:
        """Append the next record, if it is here. At the target, aim at the newest head heard meanwhile."""
        cid = self._path[-1]
        blocks = self._held.get(cid)
        if blocks is None:
            return None
        step = self.chain.append_block(Block(cid, blocks[cid]), MemoryBlocks(blocks, self._manifest_blocks))
        self._drop(cid)
        self._path.pop()
        if not self._path:
            newer, self._target = self._newer, None
            if newer is not None and newer.height > self.chain.height:
                self._aim(newer)
        return step, blocks

    # -- what is here -----------------------------------------------------------------------------------------------

    def _take_inline(self, cid: CID, inline: Sequence[Block]) -> None:
        """Keep what came with an announcement, if it is all that verifying the record needs."""
        blocks = {block.cid: block.data for block in inline}
        try:
            source = ReadBlocks(MemoryBlocks(blocks, self._manifest_blocks))
            complete = cid in blocks and not missing(Block(cid, blocks[cid]), source, self.manifest.cid, Chained)
        except BlockError:
            return  # what was announced is checked when it is fetched
        if complete:  # and no others of an announcement are kept, whatever else came
            self._hold(cid, {cid: blocks[cid], **{need: blocks[need] for need in source.read if need in blocks}})

    def _hold(self, cid: CID, blocks: Mapping[CID, bytes]) -> None:
        if cid in self._held:
            return
        self._held[cid] = blocks
        self._held_bytes += sum(map(len, blocks.values()))
        while self._held_bytes > self._most_held and len(self._held) > 1:
            self._drop(next(iter(self._held)))

    def _drop(self, cid: CID) -> None:
        self._held_bytes -= sum(map(len, self._held.pop(cid).values()))


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
    outbox.must(WriteHead, then, run, head, body.height, body.term, closes, step.well_signed)

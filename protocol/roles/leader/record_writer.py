"""How a leader's record gets into the chain: built, checked by our own rules, stored, made the head, announced."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from crypto.errors import BadKey
from crypto.symmetric import SymmetricKey
from protocol.blocks.cid import CID, Block, MemoryBlocks, checked_block
from protocol.blocks.content import ContentKey
from protocol.blocks.listing import pack
from protocol.chain.chain import Step
from protocol.federation.epochs import new_epoch
from protocol.federation.manifest import Manifest
from protocol.federation.run_keys import private_fields
from protocol.pacing.backoff import FIRST_RETRY, Backoff
from protocol.records.bodies import Chained, Close, Collect, Dispatch, Index, NewEnvironment, Reply, Roster, Takeover
from protocol.records.signed_records import parse_record, sign_record
from protocol.roles.effects import FetchContent, PinRun, Store, WriteHead
from protocol.roles.leader.leader_states import LeaderState, Turn
from protocol.roles.leader.record_bodies import Seen
from protocol.roles.leader.run_plan import NewKeys, ResumedRun, TermStart, WonTerm
from protocol.roles.machine import Machine
from protocol.wire.announcements import Head, Position

Then = Callable[[float], None]
"""Called with the time, in seconds, once a record is on disk and announced."""


class RecordWriter:
    """Appends to a chain, one record at a time."""

    def __init__(self, run: ResumedRun, machine: Machine[LeaderState]) -> None:
        """``run`` is what there is of the run already; its chain may be empty."""
        self._machine = machine
        self._newest, self._announcer, self._outbox = machine.newest, machine.announcer, machine.outbox
        self.chain = chain = run.chain
        self.records = list(run.records)
        """The whole chain: what a fresh app process has to replay."""
        self._well_signed: list[CID] = []
        """Records that were verified since the head that was written last, and those they link."""
        self._terms = list(run.terms)
        self.seen = Seen()
        self.has_signed = False
        """Whether this process has appended a record of its own."""
        self.durable: Position | None = None
        """The newest head that is on disk; the only one that is ever announced."""
        self._head_blocks: tuple[Block, ...] = ()
        self._retry = Backoff(0.0)
        self._announced_at = 0.0
        if chain.head is not None:
            machine.acting.take_up(chain.run, machine)
            self.durable = Position(chain.run, chain.head, chain.height, chain.term)

    @property
    def _in_force(self) -> Manifest:
        """What the next record is judged by."""
        return self._newest.manifest if self.chain.head is None else self.chain.manifest

    def term_at(self, height: int) -> int:
        """The term of the record at ``height``."""
        return next(start.term for start in reversed(self._terms) if start.height <= height)

    @property
    def term_began(self) -> int:
        """The height of the first record of the newest term."""
        return self._terms[-1].height

    @property
    def content_key(self) -> ContentKey | None:
        """What the app encrypts its contents with."""
        epoch = self.chain.keys.current
        return None if epoch is None else self.chain.keys.content(epoch.number)

    # -- building ---------------------------------------------------------------------------------------------------

    def write(
        self,
        kind: type[Index | Roster | NewEnvironment | Dispatch | Collect | Close | Takeover],
        now: float,
        then: Then = lambda _now: None,
        blocks: Iterable[Block] = (),
        roots: Sequence[Block] = (),
        /,
        *,
        private: object = None,
        **fields: Any,
    ) -> None:
        """Append a record of this kind with ``fields`` and those that every record but the first shares.

        ``private`` is encrypted in the newest epoch, if there is one; ``blocks`` are stored with the record, and
        ``roots`` of contents are announced after them."""
        chain = self.chain
        looks, empties, seen = self.seen.take()
        if private is not None:
            fields |= private_fields(private, chain.keys.current, kind.TYPE, chain.height + 1)
        body = kind(
            by=self._newest.author.member, time=now, run=chain.run, prev=chain.head, height=chain.height + 1,
            looks=looks, empties=empties, **({"term": chain.term} | fields),
        )  # fmt: skip
        self.append(body, (*seen, *blocks), then, roots)

    def take_over(self, won: WonTerm, now: float, then: Then) -> None:
        """Begin a term that we have won."""
        votes, more = pack([vote.cid for vote in won.votes])
        warrant = [] if won.warrant is None else [won.warrant]
        self._terms.append(TermStart(self.chain.height + 1, won.term))
        blocks = [*won.votes, *more, *warrant]
        fields: dict[str, object] = {"warrant": None if won.warrant is None else won.warrant.cid}
        if (disputed := won.disputed) is not None:
            words, more = pack([word.cid for word in disputed.words])
            blocks += [disputed.against, *disputed.words, *more]
            fields |= {"against": disputed.against.cid, "words": words}
        self.write(Takeover, now, then, blocks, term=won.term, cause=won.cause, votes=votes, **fields)

    def write_roster(self, now: float, then: Then) -> None:
        """Bring the newest manifest into force, or name that in force again if it is the newest: in the very block of
        it that the chain has."""
        if (made := self.new_epoch(now)) is None:
            return
        keys, blocks = made
        blocks += self.manifest_blocks()
        newest, in_force = self._newest.manifest, self.chain.manifest
        brought = in_force if in_force.version == newest.version else newest
        fields = {"manifest": brought.cid, "keys": keys.record if keys else None}
        self.write(Roster, now, then, blocks, **fields)

    def new_epoch(self, now: float, model: SymmetricKey | None = None) -> tuple[NewKeys | None, list[Block]] | None:
        """Keys for the members of the newest manifest, and the blocks to store with them; ``model`` as `new_epoch`.

        No keys, if the federation does not encrypt. None at all, and the machine stops, if a member has a key that
        nothing can be sealed to.
        """
        manifest, by = self._newest.manifest, self._newest.author.member
        if not manifest.encrypted:
            return None, []
        try:
            made = new_epoch(manifest, self.chain.keys.current, by=by, time=now, model=model)
        except BadKey as error:
            why = f"a member's encryption key, which an admin listed, cannot be used: {error}"
            self._outbox.cannot_go_on(why, now)
            return None
        record = sign_record(made.body, [self._newest.author.key_in(self._in_force)])
        return NewKeys(record.cid, made.epoch), [record, *made.blocks]

    def manifest_blocks(self) -> list[Block]:
        """Those of all versions of the newest manifest."""
        return [checked_block(cid, data) for cid, data in self._newest.blocks.items()]

    # -- on its way -------------------------------------------------------------------------------------------------

    def append(self, body: Chained, blocks: Sequence[Block], then: Then, roots: Sequence[Block] = ()) -> None:
        """Append ``body``, stored with ``blocks`` and announced with ``roots`` after these; ``then(now)`` runs when it
        is on disk and announced."""
        record = sign_record(body, [self._newest.author.key_in(self._in_force)])
        own = (record, *blocks)
        source = MemoryBlocks({block.cid: block.data for block in own}, self._newest.blocks)
        self._well_signed += self.chain.append(parse_record(record), source).well_signed
        self.records.append(record.cid)
        self._machine.acting.take_up(self.chain.run, self._machine)
        self.has_signed = True
        self._machine.take(Turn.APPENDS)

        def appended(now: float) -> None:
            self._machine.take(Turn.APPENDED)
            then(now)

        if self.chain.closed:
            self._outbox.must(Store, partial(self._stored, own, appended), own, own=True)
        else:  # what is durable is done in this order, so the head need not wait to hear of its record
            self._outbox.must(Store, lambda _: None, own, own=True)
            self._write_head((*own, *roots), appended)

    def adopt(self, steps: Sequence[tuple[Step, Mapping[CID, bytes]]], then: Then) -> None:
        """Have records of ours that were appended to the chain again on disk, and what clients answered here again, for
        the app to replay; ``then(now)`` runs when they are. What the app sent, it makes again itself."""
        blocks = {cid: data for _, blocks in steps for cid, data in blocks.items()}
        own = tuple(checked_block(cid, data) for cid, data in blocks.items())
        self.records += [step.record.cid for step, _ in steps]
        bodies = (step.record.body for step, _ in steps)
        self._terms += [TermStart(body.height, body.term) for body in bodies if isinstance(body, Takeover)]
        self._well_signed += [cid for step, _ in steps for cid in step.well_signed]
        replies = (answer.reply.body for step, _ in steps for answer in step.answered if answer.reply is not None)
        contents = {reply.content for reply in replies if isinstance(reply, Reply) and reply.content is not None}
        fetched = partial(self._fetch_replies, contents, partial(self._stored, own, then))
        self._outbox.must(Store, fetched, own, own=True)

    def _fetch_replies(self, lacking: set[CID], then: Then, now: float) -> None:
        if not lacking:
            then(now)

        def here(content: CID, now: float) -> None:
            lacking.discard(content)
            if not lacking:
                then(now)

        for content in sorted(lacking):
            self._outbox.must(FetchContent, partial(here, content), content)

    def _stored(self, own: tuple[Block, ...], then: Then, now: float) -> None:
        """Go on to the head; a closed run is pinned whole before, since a peer that starts again finds it done."""
        assert self.chain.head is not None
        if self.chain.closed:
            pinned = self.chain.head, self.chain.shows_disputed
            self._outbox.must(PinRun, lambda _: self._write_head(own, then), *pinned)
        else:
            self._write_head(own, then)

    def _write_head(self, announced: tuple[Block, ...], then: Then) -> None:
        chain = self.chain
        assert chain.head is not None
        written = partial(self._head_written, announced, then)
        signed, self._well_signed = tuple(self._well_signed), []
        place = chain.run, chain.head, chain.height, chain.term
        self._outbox.must(WriteHead, written, *place, chain.closed, chain.by, signed)

    def _head_written(self, announced: tuple[Block, ...], then: Then, now: float) -> None:
        chain = self.chain
        assert chain.head is not None
        self.durable = Position(chain.run, chain.head, chain.height, chain.term)
        self._head_blocks = announced
        self._retry = Backoff(now)
        self._announce(now)
        then(now)

    # -- announcing -------------------------------------------------------------------------------------------------

    def _announce(self, now: float) -> None:
        if self.durable is not None:
            self._announced_at = now
            self._retry.back_off(now)
            self._announcer.announce(Head(self.durable), self._head_blocks)

    def remind(self, now: float) -> None:
        """Announce the head again to a member that shows not to know it, but not for each one."""
        if now >= self._announced_at + FIRST_RETRY:
            self._announce(now)

    def announce_due(self, now: float) -> None:
        """Announce the head again, if that is due."""
        if any(now >= moment for moment in self.moments()):
            self._announce(now)

    def moments(self) -> Iterator[float]:
        """When to announce the head again: as long as somebody may not know it, as a message is open or the run is
        closed."""
        if self.durable is not None and (self.chain.open or self.chain.closed):
            yield self._retry.at

"""How a leader's record gets into the chain: built, checked by our own rules, stored, made the head, announced."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from enum import Enum, auto
from functools import partial
from typing import Any

from crypto.errors import BadKey
from crypto.symmetric import SymmetricKey
from protocol.blocks.cid import CID, Block, MemoryBlocks, checked_block
from protocol.blocks.content import ContentKey
from protocol.chain.chain import Step
from protocol.federation.epochs import new_epoch
from protocol.federation.manifest import Manifest
from protocol.federation.reading import private_fields
from protocol.pacing.retry import FIRST_RETRY, Retry
from protocol.records.bodies import Chained, RecordType, Reply
from protocol.records.signed import parse_record, sign_record
from protocol.roles.effects import FetchContent, PinRun, Store, WriteHead
from protocol.roles.inherited import Inherited
from protocol.roles.leader.drafts import Seen
from protocol.roles.leader.forgotten_records import TakingUp, blocks_of
from protocol.roles.leader.plan import NewKeys, ResumedRun
from protocol.roles.newest_manifest import Author, TrustedManifest
from protocol.wire.announcements import Head, Position, topic_all


class LeaderState(Enum):
    """Where a leader is."""

    NEW = auto()
    PREPARING = auto()
    """Waiting for the app process to have its imports."""
    LEADING = auto()
    APPENDING = auto()
    """A record is on its way to disk; nothing else is decided meanwhile."""
    ENDING = auto()
    """The run is closed; the clients are hearing of it."""
    STOPPED = auto()


class Recorder(Inherited):
    """A machine that appends to a chain, one record at a time."""

    def __init__(self, author: Author, trusted: TrustedManifest, run: ResumedRun) -> None:
        """``run`` is what there is of the run already; its chain may be empty."""
        super().__init__(author, trusted, topic_all(trusted.manifest.federation))
        self.chain = chain = run.chain
        self._records = list(run.records)
        """The whole chain: what a fresh app process has to replay."""
        self._well_signed: list[CID] = []
        """Records that were verified since the head that was written last, and those they link."""
        self._seen = Seen()
        self._durable: Position | None = None
        """The newest head that is on disk; the only one that is ever announced."""
        self._head_blocks: tuple[Block, ...] = ()
        self._retry = Retry(0.0)
        self._announced_at = 0.0
        self._taking_up = TakingUp(chain, author, trusted.manifest, self._newest.blocks)
        if chain.head is not None:
            self._durable = Position(chain.run, chain.head, chain.height, chain.term)

    def _header(self, now: float) -> tuple[dict[str, Any], list[Block]]:
        """The fields that every record but the first shares, and the blocks of what the app saw."""
        looks, empties, blocks = self._seen.take()
        chain = self.chain
        fields = {
            "by": self.author.member, "time": now, "run": chain.run, "prev": chain.head, "height": chain.height + 1,
            "term": chain.term, "looks": looks, "empties": empties,
        }  # fmt: skip
        return fields, blocks

    def _private(self, value: object, kind: RecordType) -> dict[str, Any]:
        """The fields of a private part, encrypted in the newest epoch where there is one."""
        return private_fields(value, self.chain.keys.current, kind, self.chain.height + 1)

    def _new_epoch(self, now: float, model: SymmetricKey | None = None) -> tuple[NewKeys | None, list[Block]] | None:
        """Keys for the members of the newest manifest, and the blocks to store with them; ``model`` as `new_epoch`.

        No keys, where the federation does not encrypt. None at all, and the machine stops, where a member has a
        key that nothing can be sealed to.
        """
        if not self.manifest.encrypted:
            return None, []
        try:
            made = new_epoch(self.manifest, self.chain.keys.current, by=self.author.member, time=now, model=model)
        except BadKey as error:
            self._outbox.cannot_go_on(f"a member's encryption key, which an admin listed, cannot be used: {error}", now)
            return None
        record = sign_record(made.body, [self.author.key_in(self._in_force)])
        return NewKeys(record.cid, made.epoch), [record, *made.blocks]

    @property
    def _in_force(self) -> Manifest:
        """What the next record is judged by."""
        return self.manifest if self.chain.head is None else self.chain.manifest

    @property
    def _content_key(self) -> ContentKey | None:
        """What the app encrypts its contents with."""
        epoch = self.chain.keys.current
        return None if epoch is None else self.chain.keys.content(epoch.number)

    def _append(self, body: Chained, blocks: Sequence[Block], then: Callable[[float], None]) -> None:
        """Append ``body``, stored with ``blocks``; ``then(now)`` runs when it is on disk and announced."""
        record = sign_record(body, [self.author.key_in(self._in_force)])
        own = (record, *blocks)
        source = MemoryBlocks({block.cid: block.data for block in own}, self._newest.blocks)
        self._well_signed += self.chain.append(parse_record(record), source).well_signed
        self._records.append(record.cid)
        self.state = LeaderState.APPENDING
        self._taking_up.has_signed = True
        appended = partial(self._appended, then)
        self._outbox.must(Store, partial(self._stored, own, appended), own, own=True)

    def _appended(self, then: Callable[[float], None], now: float) -> None:
        self.state = LeaderState.LEADING
        then(now)

    def _adopt(self, steps: Sequence[tuple[Step, Mapping[CID, bytes]]], then: Callable[[float], None]) -> None:
        """Have records of ours that were appended to the chain again on disk; ``then(now)`` runs when they are."""
        self._taking_up.is_storing = True
        own = tuple(checked_block(cid, data) for cid, data in blocks_of(steps).items())
        self._records += [step.record.cid for step, _ in steps]
        self._well_signed += [cid for step, _ in steps for cid in step.well_signed]
        contents = {
            answer.reply.body.content
            for step, _ in steps
            for answer in step.answered
            if answer.reply is not None and isinstance(answer.reply.body, Reply)
        }
        lacking = {content for content in contents if content is not None}
        fetched = partial(self._fetch_replies, lacking, partial(self._stored, own, then))
        self._outbox.must(Store, fetched, own, own=True)

    def _fetch_replies(self, lacking: set[CID], then: Callable[[float], None], now: float) -> None:
        """Have what clients answered here again, for the app to replay; what it sent, it makes again itself."""
        if not lacking:
            then(now)
        for content in sorted(lacking):
            done = partial(self._reply_content_here, lacking, content, then)
            self._outbox.must(FetchContent, done, content)

    def _reply_content_here(self, lacking: set[CID], content: CID, then: Callable[[float], None], now: float) -> None:
        lacking.discard(content)
        if not lacking:
            then(now)

    def _stored(self, own: tuple[Block, ...], then: Callable[[float], None], now: float) -> None:
        """Go on to the head; a closed run is pinned whole before, since a peer that starts again finds it done."""
        if self.chain.closed:
            self._pin_run(own, then, now)
        else:
            self._write_head(own, then, now)

    def _pin_run(self, own: tuple[Block, ...], then: Callable[[float], None], now: float) -> None:
        assert self.chain.head is not None
        self._outbox.must(PinRun, partial(self._write_head, own, then), self.chain.head)

    def _write_head(self, own: tuple[Block, ...], then: Callable[[float], None], now: float) -> None:
        chain = self.chain
        assert chain.head is not None
        written = partial(self._head_written, own, then)
        well_signed, self._well_signed = tuple(self._well_signed), []
        self._outbox.must(
            WriteHead, written, chain.run, chain.head, chain.height, chain.term, chain.closed, well_signed
        )

    def _head_written(self, own: tuple[Block, ...], then: Callable[[float], None], now: float) -> None:
        chain = self.chain
        assert chain.head is not None
        self._durable = Position(chain.run, chain.head, chain.height, chain.term)
        self._head_blocks = own
        self._retry = Retry(now)
        self._announce_head(now)
        then(now)

    def _announce_head(self, now: float) -> None:
        if self._durable is not None:
            self._announced_at = now
            self._retry.back_off(now)
            self._voice.announce(Head(self._durable), self._head_blocks)

    def _remind(self, now: float) -> None:
        """Announce the head again to somebody who shows not to know it, but not for each one."""
        if now >= self._announced_at + FIRST_RETRY:
            self._announce_head(now)

    @property
    def _announcing(self) -> bool:
        """Whether somebody may not know the head yet: a message is open, or the run is closed."""
        return self._durable is not None and (bool(self.chain.open) or self.chain.closed)

    def _manifest_as_blocks(self) -> list[Block]:
        return [checked_block(cid, data) for cid, data in self._newest.blocks.items()]

"""Passing proposals on to the other admins, and taking theirs, as long as a peer stands.

`protocol.desk.desk` decides when what is told and looked into, `peer.membership.passed_on` judges it. Here are the
clock, the engine and the home. All decisions are made in the event loop, like those of the runs beside it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from peer.base import logs
from peer.base.clock import Clock
from peer.base.errors import PeerError
from peer.engine.interface import EngineError
from peer.engine.linked_blocks import links_of, reached
from peer.home.home import Stamp, stamp_of
from peer.home.reader_choice import reader_of
from peer.membership.changes import is_admin
from peer.membership.passed_on import TakingIn
from peer.membership.proposing import ProposalStore
from peer.run.announcement_queue import AnnouncementQueue
from peer.run.asking import SharedAsking, Talker
from peer.run.session import Session
from protocol.blocks.cid import CID, Block, BlockError, MemoryBlocks
from protocol.desk.desk import Desk, LookInto
from protocol.federation.manifest import Manifest
from protocol.records.bodies import Federation, Role
from protocol.records.signed_records import parse_record
from protocol.roles.events import Received
from protocol.roles.newest_manifest import Author
from protocol.wire.announcement_seals import AnnouncementSeals
from protocol.wire.announcements import Announcement, ManifestRef, ProposalReady, sign_announcement, topic_all
from protocol.wire.asking import subject_of
from protocol.wire.inbox import Inbox

LOOK: Final = 1.0
"""Seconds between looks at what other commands changed in the home."""

PLACE: Final = -1
"""The desk's place in what takes part in asking; runs have places from 1."""


@dataclass(frozen=True, slots=True)
class _Known:
    """What the home had when it was looked at last."""

    author: Author
    manifest: Manifest
    versions: Mapping[CID, bytes] = field(repr=False)
    """The blocks of all versions of the manifest."""
    waiting: Mapping[CID, CID | None]
    """As `Desk.has` takes it."""
    blocks: Mapping[CID, Mapping[CID, bytes]]
    """Of each proposal, and of the newest manifest, what it takes to verify it, by its record."""
    dialled: tuple[str, ...]
    addresses: tuple[str, ...]
    """Where others reach our engine."""
    is_admin: bool


@contextlib.asynccontextmanager
async def passing_on(session: Session, asking: SharedAsking | None) -> AsyncIterator[None]:
    """Pass proposals on until the context ends, as long as this home's member is an admin."""
    task = asyncio.create_task(_PassingOn(session, asking).keep_on())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


class _PassingOn:
    def __init__(self, session: Session, asking: SharedAsking | None) -> None:
        self._session = session
        self._asking = asking
        self._desk = Desk(session.identity.id)
        self._clock = Clock()
        self._loop = asyncio.get_running_loop()
        self._intake = AnnouncementQueue(self._received)
        self._waiting: asyncio.Queue[Received] = asyncio.Queue()
        self._known: _Known | None = None
        self._seals: AnnouncementSeals | None = None
        self._inbox: Inbox | None = None
        self._stamps: tuple[Stamp, ...] = ()
        self._stored_version = 0
        self._looking: set[asyncio.Task[None]] = set()
        self._told = ""

    async def keep_on(self) -> None:
        """Listen and tell, until cancelled."""
        session = self._session
        while self._known is None or not self._known.is_admin:
            await self._look()
            if self._known is None or not self._known.is_admin:
                await asyncio.sleep(LOOK)
        subscription = session.engine.subscribe(topic_all(session.federation), self._intake.receive)
        if self._asking is not None:
            talker = Talker(self._to_ask, self._intake.told, session.on_report, lambda: self._dialled)
            await asyncio.to_thread(self._asking.join, PLACE, talker)
        try:
            looked_at = self._clock.now()
            while True:
                self._announce_due()
                until = min(looked_at + LOOK, self._desk.next_due)
                event = await self._next(until - self._clock.now())
                if event is not None:
                    self._intake.taken(event)
                    self._hear(event.data)
                if self._clock.now() >= looked_at + LOOK:
                    await self._look()
                    looked_at = self._clock.now()
        finally:
            for task in self._looking:
                task.cancel()
            subscription.close()
            if self._asking is not None:
                self._asking.leave(PLACE)

    async def _next(self, seconds: float) -> Received | None:
        try:
            async with asyncio.timeout(max(0.0, seconds)):  # Python 3.11's `wait_for` may lose that we are cancelled
                return await self._waiting.get()
        except TimeoutError:
            return None

    def _received(self, event: Received) -> None:
        """Called in a thread of the engine."""
        self._loop.call_soon_threadsafe(self._waiting.put_nowait, event)

    # -- the home ---------------------------------------------------------------------------------------------------

    async def _look(self) -> None:
        """Take up what changed in the home. What is damaged there is told by what needs it."""
        try:
            found = await asyncio.to_thread(self._looked)
        except (PeerError, EngineError, BlockError, OSError) as error:
            if (why := str(error)) != self._told:
                self._told = why
                logs.event("desk-cannot-look", logging.WARNING, why=why)
            return
        if found is None:
            return
        self._told = ""
        source = MemoryBlocks(found.versions)
        if self._seals is None or self._known is None or self._known.author.keys != found.author.keys:
            self._seals = AnnouncementSeals(found.manifest, source, found.author.reader)
            self._inbox = Inbox(self._session.federation, self._seals, self._session.identity.id)
        elif found.manifest.version > self._known.manifest.version:
            self._seals.learn(found.manifest, source)
        self._known = found
        if found.is_admin:
            self._desk.has(found.manifest, found.waiting, self._clock.now())

    def _looked(self) -> _Known | None:
        """What the home has; None if that is what it had."""
        session, known = self._session, self._known
        folder = session.home.proposals / str(session.federation)
        stored, stamps = session.stored(), _stamps_in(folder)
        is_new = known is None or (stored.manifest.cid, stamps) != (known.manifest.cid, self._stamps)
        if not is_new and not session.keys.changed:
            return None
        author, identity = session.author(), session.identity
        reader = reader_of(identity)
        stored = stored.read_by(reader)
        admin = is_admin(stored.manifest, identity.public)
        kept = ProposalStore(session.home, stored)
        if admin and stored.manifest.version != self._stored_version:
            kept.tidy(key.verify_key.raw for key in identity.signing_keys)
            session.engine.put((Block(cid, data) for cid, data in stored.blocks.items()), pin=list(stored.blocks))
            self._stored_version = stored.manifest.version
        pending = [each for each in kept.all() if each.proposal is not None] if admin else []
        unsigned: dict[CID, CID | None] = dict.fromkeys(kept.rejected(identity.id))
        self._stamps = _stamps_in(folder) if admin else stamps
        return _Known(
            author=author,
            manifest=stored.manifest,
            versions=stored.blocks,
            waiting={**{each.record.id: each.record.cid for each in pending}, **unsigned},
            blocks={
                stored.manifest.cid: _of(stored.manifest.cid, stored.blocks),
                **{each.record.cid: _of(each.record.cid, each.blocks) for each in pending},
            },
            dialled=stored.reached_at,
            addresses=session.engine.addresses(),
            is_admin=admin,
        )

    @property
    def _dialled(self) -> tuple[str, ...]:
        return () if self._known is None else self._known.dialled

    def _to_ask(self) -> list[bytes]:
        """The members that may have news for us: the other admins, and the servers."""
        if (known := self._known) is None:
            return []
        return [
            each.id
            for each in known.manifest.members.values()
            if each.id != known.author.member and (each.signing in known.manifest.admins or Role.SERVER in each.roles)
        ]

    # -- saying and hearing -----------------------------------------------------------------------------------------

    def _announce_due(self) -> None:
        if self._known is None or not self._known.is_admin:
            return
        for body in self._desk.due(self._clock.now()):
            self._announce(self._known, body)

    def _announce(self, known: _Known, body: ProposalReady) -> None:
        assert self._seals is not None
        acting = self._session.acting.acting
        named = body.manifest.cid if body.proposal is None else body.record
        announcement = Announcement(
            federation=self._session.federation,
            by=known.author.member,
            counter=acting.counter,
            body=body,
            addresses=known.addresses,
            blocks=tuple(Block(cid, data) for cid, data in known.blocks.get(named, {}).items()) if named else (),
        )
        acting.counter += 1
        sealed = self._seals.seal(sign_announcement(announcement, known.author.key_in(known.manifest)))
        if self._asking is not None:
            self._asking.said(PLACE, subject_of(body), sealed)
        self._in_thread(lambda: self._session.engine.publish(topic_all(self._session.federation), sealed))

    def _hear(self, data: bytes) -> None:
        assert self._known is not None
        assert self._inbox is not None
        now = self._clock.now()
        said = self._inbox.accept(data, self._known.manifest, now)
        if not isinstance(said, Announcement):
            return
        look = self._desk.heard(said, now)
        if look is not None:
            inline = {block.cid: block.data for block in said.blocks}
            self._looking.add(task := asyncio.create_task(self._look_into(look, inline)))
            task.add_done_callback(self._looking.discard)

    async def _look_into(self, look: LookInto, inline: Mapping[CID, bytes]) -> None:
        session = self._session
        taking = TakingIn(session.home, session.federation, session.identity, session.engine)

        def take() -> None:
            match look.what:
                case ManifestRef():
                    if not taking.take_manifest(look.what, inline):
                        raise PeerError("the manifest that was named is older than that")
                case ProposalReady(proposal=proposal, record=None) if proposal is not None:
                    taking.note_rejection(proposal, look.by)
                case ProposalReady(record=record) if record is not None:
                    taking.take_proposal(record, inline)

        try:
            await asyncio.to_thread(take)
        except (PeerError, EngineError, BlockError, OSError) as error:
            logs.event("not-taken-from-admin", logging.WARNING, by=look.by.hex(), why=str(error))
            came = isinstance(error, PeerError | BlockError)
            self._desk.was_false(look, self._clock.now(), came=came)
        else:
            self._desk.was_true(look)
        await self._look()

    def _in_thread(self, work: Callable[[], None]) -> None:
        async def done() -> None:
            try:
                await asyncio.to_thread(work)
            except EngineError as error:  # it is told again
                logs.event("desk-not-heard", logging.DEBUG, why=str(error))

        self._looking.add(task := asyncio.create_task(done()))
        task.add_done_callback(self._looking.discard)


def _of(cid: CID, blocks: Mapping[CID, bytes]) -> dict[CID, bytes]:
    """A version's block ``cid``, first, and its listings; without the versions before it."""
    body = parse_record(Block(cid, blocks[cid])).body
    before = body.prev if isinstance(body, Federation) else None

    def links(each: CID) -> list[CID]:
        return [link for link in links_of(Block(each, blocks[each])) if link != before and link in blocks]

    return {each: blocks[each] for each in reached(cid, links)}


def _stamps_in(folder: Path) -> tuple[Stamp, ...]:
    """The stamps of the files in a folder."""
    found = list[Stamp]()
    for path in sorted(folder.glob("[!.]*")):
        with contextlib.suppress(FileNotFoundError):
            found.append(stamp_of(path))
    return tuple(found)

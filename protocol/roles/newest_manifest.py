"""The newest manifest that a peer knows, and with which keys it acts by it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Final

from crypto.dsse import BadSignature
from crypto.keys import SigningKey
from protocol.blocks.cid import CID, Block, BlockError, MemoryBlocks, ReadBlocks
from protocol.chain.closure import missing
from protocol.federation.manifest import MAX_AHEAD, PUBLIC, Manifest, manifest_at, why_left_out, why_unreadable
from protocol.federation.readers import Reader
from protocol.records.bodies import Body, Federation, Role
from protocol.records.equivocation import Equivocation
from protocol.records.signed_records import parse_record
from protocol.roles.acting import Acting
from protocol.roles.effects import FetchRecord, KeepManifest, What
from protocol.roles.events import KeysChanged, ManifestChanged
from protocol.roles.outbox import Outbox
from protocol.roles.unchecked_claims import UncheckedClaims
from protocol.wire.announcement_seals import AnnouncementSeals
from protocol.wire.announcements import ManifestRef

DEEPEST_DOUBT: Final = 3600.0
"""Seconds until a member's word of a newer manifest is looked into again, if it never was true."""


@dataclass(frozen=True, slots=True)
class Author:
    """The member that a machine acts for. ``first_counter`` is above every counter this member ever announced with."""

    member: bytes
    keys: tuple[SigningKey, ...]
    """The newest first. Those before it are for what is judged by a manifest before the newest."""
    first_counter: int
    reader: Reader = PUBLIC
    """The member with its decryption keys."""
    session: bytes = b""
    """Random, 16 bytes, of this process alone. Empty: the member's keys are nowhere else, and never were."""
    acting: Acting | None = None
    """What its machines share; None if there is one machine alone."""

    def key_in(self, manifest: Manifest) -> SigningKey:
        """The key that ``manifest`` gives to the member; the newest, if it gives it none of these."""
        member = manifest.members.get(self.member)
        return next((key for key in self.keys if member and key.verify_key.raw == member.signing), self.keys[0])

    def own_body(self, block: Block) -> Body | None:
        """What a record says that the member made and one of these keys signed; None if ``block`` is none."""
        try:
            record = parse_record(block)
            if record.body.by != self.member or all(key.verify_key.raw not in record.signers for key in self.keys):
                return None
            record.check_signatures()
        except (BlockError, BadSignature):
            return None
        return record.body

    def lacks_key(self, manifest: Manifest) -> bool:
        """Whether ``manifest`` lists the member with a key that is not among these."""
        member = manifest.members.get(self.member)
        return member is not None and self.key_in(manifest).verify_key.raw != member.signing


@dataclass(frozen=True, slots=True)
class TrustedManifest:
    """A manifest and the blocks of all its versions, so that anybody can check it from version 1."""

    manifest: Manifest
    blocks: Mapping[CID, bytes] = field(repr=False)
    proofs: tuple[Equivocation, ...] = field(default=(), repr=False)
    """Which of its members not to follow, and why."""


class NewestManifest:
    """The newest manifest: learned from our owner, and from members that say there is a newer one."""

    left_out: Callable[[str, float], None]
    """Called with the reason, and the time, when it gives us no part in the federation, or another one. The machine
    sets it: a role stops then, unless it has something else to do."""

    def __init__(self, author: Author, trusted: TrustedManifest, role: Role, outbox: Outbox) -> None:
        """``role`` is what the manifest has to let us be."""
        self.author = author
        self.manifest = trusted.manifest
        self.blocks = dict(trusted.blocks)
        """Of all its versions."""
        self.seals = AnnouncementSeals(trusted.manifest, MemoryBlocks(self.blocks), author.reader)
        self._role = role
        self._outbox = outbox
        self._claims = UncheckedClaims(1, DEEPEST_DOUBT)
        self._fetching: set[CID] = set()

    @property
    def key(self) -> SigningKey:
        """Ours, by this manifest."""
        return self.author.key_in(self.manifest)

    @property
    def ref(self) -> ManifestRef:
        """As announcements name it."""
        return ManifestRef(self.manifest.cid, self.manifest.version)

    def heard_of(self, by: bytes, newest: ManifestRef, now: float) -> None:
        """Look into what a member says is the newest manifest. If it is not so, that member has to wait, and keeps
        nobody else's word from being looked into."""
        known = newest.version <= self.manifest.version or newest.cid in self._fetching
        if known or not self._claims.may_open(by, now):
            return
        self._claims.open(by)
        if newest.version - self.manifest.version > MAX_AHEAD:
            self._claims.failed(by, now)
            why = f"it is called version {newest.version}, over {MAX_AHEAD} after ours: ask an admin for a file"
            self._outbox.report(What.FETCH_FAILED, cid=str(newest.cid), why=why)
            return
        self._fetching.add(newest.cid)
        fetched, failed = partial(self._fetched, by, newest), partial(self._not_fetched, by, newest.cid)
        self._outbox.ask(FetchRecord, fetched, failed, newest.cid, Federation, self.manifest.cid)

    def _fetched(self, by: bytes, newest: ManifestRef, blocks: Mapping[CID, bytes], now: float) -> None:
        self._fetching.discard(newest.cid)
        self.learn(newest.cid, blocks, now, MAX_AHEAD)
        if self.manifest.version >= newest.version:
            self._claims.held(by)
        else:
            self._claims.failed(by, now)

    def _not_fetched(self, by: bytes, cid: CID, why: str, now: float) -> None:
        self._fetching.discard(cid)
        self._claims.failed(by, now)
        self._outbox.report(What.FETCH_FAILED, cid=str(cid), why=why)

    def change(self, event: ManifestChanged, now: float) -> None:
        """Our owner changed it, or was handed a newer one."""
        self.learn(event.cid, event.blocks, now)

    def change_keys(self, event: KeysChanged, now: float) -> None:
        """Our owner rotated our keys."""
        self.author = replace(self.author, keys=event.signing)
        if self.author.reader is not PUBLIC:
            self.author.reader.learn(event.decryption, event.kept)

    def learn_in_force(self, manifest: Manifest, blocks: Mapping[CID, bytes], now: float) -> None:
        """A verified record, whose ``blocks`` these are, has brought a manifest into force. Who leads that run next
        must know it, though nobody has told us of it yet."""
        if manifest.version > self.manifest.version:
            noted = ReadBlocks(MemoryBlocks(blocks, self.blocks))
            missing(manifest.cid, noted, self.manifest.cid, Federation)
            self.learn(manifest.cid, {cid: blocks[cid] for cid in noted.read if cid in blocks}, now)

    def learn(self, cid: CID, blocks: Mapping[CID, bytes], now: float, most: int | None = None) -> None:
        """Adopt a newer manifest that follows from ours, ``most`` versions later at most. Anything else is reported and
        left alone."""
        source = MemoryBlocks(blocks, self.blocks)
        try:
            newer = manifest_at(cid, self.manifest.federation, source, self.manifest, self.author.reader, most)
        except BlockError as error:
            self._outbox.report(What.FETCH_FAILED, cid=str(cid), why=str(error))
            return
        if newer.version <= self.manifest.version:
            return
        before, self.manifest = self.manifest, newer
        self.blocks.update(blocks)
        self.seals.learn(newer, source)
        self._outbox.emit(KeepManifest(cid, dict(blocks), newer.key))
        self._outbox.report(What.MANIFEST_IN_FORCE, version=newer.version, cid=str(cid))
        if self.author.lacks_key(newer):
            self._outbox.cannot_go_on("the manifest names newer keys of ours than are in this home", now)
        elif why := why_left_out(before, newer, self.author.member, self._role):
            self.left_out(why, now)
        elif not newer.readable:
            self._outbox.cannot_go_on(why_unreadable(newer), now)

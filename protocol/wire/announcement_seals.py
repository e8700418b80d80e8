"""Sealed announcements, for federations that encrypt.

On the wire is msgpack ``[tag, sealed]``. What is sealed is a whole signed announcement (`protocol.wire.announcements`),
its author included. Announcements are for all members, so they are encrypted under a key derived from the newest
manifest key. A member that was away while that key changed has an older one; a beat sealed to the member's own
encryption key tells it of the newer manifest. The tag says which key opens the rest, and nothing else.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from crypto.errors import CannotDecrypt
from crypto.keys import EncryptionKey
from crypto.symmetric import SymmetricKey
from protocol.blocks.cid import CID, BlockSource
from protocol.blocks.packing import NotPacked, packed, unpacked
from protocol.federation.epochs import encryption_key
from protocol.federation.manifest import PUBLIC, Manifest
from protocol.federation.readers import Reader, WrongKey
from protocol.pacing.token_bucket import TokenBucket
from protocol.records.bodies import Federation, Member
from protocol.records.contexts import (
    AnnouncementForAll,
    AnnouncementSeal,
    AnnouncementTag,
    decrypt,
    encrypt,
    seal_for,
    tag_of,
)
from protocol.records.signed_records import read_record, typed_items
from protocol.wire.announcements import MAX_ANNOUNCEMENT, AnnouncementError, Drop, parse_announcement

TAG_SIZE: Final = 8

MAX_KEYS: Final = 256
"""How many of the newest manifest keys still open announcements: the key may change as often while a member is away."""

OPENINGS: Final = 100.0
"""How many announcements sealed to us alone are opened a second. Anybody can seal one, and opening costs 0.2 ms."""

MAX_ALONE: Final = 16 << 10
"""Bytes that may be sealed to one member. A beat has less than half as many."""

BURST: Final = 200
"""How many announcements sealed to us alone are opened at once."""

_PLAIN, _SEALED = b"\x93", b"\x92"
"""How a signed announcement begins, and how a sealed one does: msgpack's headers of arrays of three and of two."""


def member_tag(federation: CID, key: EncryptionKey) -> bytes:
    """The tag of announcements sealed to the member with this encryption key."""
    return hashlib.sha256(b"pollen announcement reader 1" + bytes(federation) + key.raw).digest()[:TAG_SIZE]


class AnnouncementSeals:
    """The keys that seal and open one peer's announcements. A federation that does not encrypt has no such keys."""

    def __init__(self, manifest: Manifest, source: BlockSource, reader: Reader = PUBLIC) -> None:
        """``manifest`` is the newest. ``source`` has all its versions, and ``reader`` opens their keys if it can.

        Raises:
            protocol.blocks.cid.BlockError: if ``source`` lacks a version.
        """
        self._federation = manifest.federation
        self._encrypted = manifest.encrypted
        self._reader = reader
        self._by_tag: dict[bytes, tuple[SymmetricKey, AnnouncementForAll]] = {}
        """The oldest first."""
        self._newest = b""
        self._openings = TokenBucket(BURST, OPENINGS)
        self._lookings = TokenBucket(BURST, OPENINGS)
        self._learned: Manifest | None = None
        self._former: dict[bytes, Member] = {}
        """Former members by id, as the last manifest with them listed them."""
        self.learn(manifest, source)

    def learn(self, manifest: Manifest, source: BlockSource) -> None:
        """Go on under a newer manifest's key. What is sealed under earlier keys still opens."""
        known = self._learned
        were = {**self._former, **(known.members if known else {})}
        for members, epoch, key in reversed(list(_older_keys(manifest, known, source, self._reader))):
            were.update((member.id, member) for member in members)
            if key is not None:
                self._add(key, epoch)
        if manifest.key is not None and manifest.key_epoch is not None:
            self._add(manifest.key, manifest.key_epoch)
        self._former = {id: member for id, member in were.items() if id not in manifest.members}
        self._learned = manifest

    def _add(self, manifest_key: SymmetricKey, epoch: int) -> None:
        tag = tag_of(manifest_key, AnnouncementTag(self._federation, epoch), TAG_SIZE)
        self._by_tag.pop(tag, None)
        self._by_tag[tag] = (manifest_key, AnnouncementForAll(self._federation, epoch))
        self._newest = tag
        if len(self._by_tag) > MAX_KEYS:
            del self._by_tag[next(iter(self._by_tag))]

    # -- sealing ----------------------------------------------------------------------------------------------------

    def seal(self, signed: bytes) -> bytes:
        """A signed announcement for all members, as it goes over the wire."""
        if not self._encrypted:
            return signed
        key, context = self._by_tag[self._newest]
        return packed(_Sealed(self._newest, encrypt(key, signed, context)))

    def seal_for(self, member: Member, signed: bytes) -> bytes:
        """A signed announcement for ``member`` alone, in a federation that encrypts.

        Raises:
            crypto.errors.BadKey: if its encryption key is of a suite that is not known here.
        """
        key = encryption_key(member)
        sealed = seal_for(key, signed, AnnouncementSeal(self._federation, member.id))
        return packed(_Sealed(member_tag(self._federation, key), sealed))

    # -- opening ----------------------------------------------------------------------------------------------------

    def open(self, data: bytes, now: float) -> bytes:
        """The signed announcement in what came over the wire, not parsed or verified yet.

        Raises:
            AnnouncementError: if there is none for us. Nothing else is raised, whatever the bytes.
        """
        if len(data) > MAX_ANNOUNCEMENT:
            raise AnnouncementError(Drop.TOO_LARGE, f"{len(data)} bytes are more than {MAX_ANNOUNCEMENT}")
        if not self._encrypted:
            if data.startswith(_SEALED):
                raise AnnouncementError(Drop.UNREADABLE, "it is sealed, and this federation does not encrypt")
            return data
        if data.startswith(_PLAIN):
            raise AnnouncementError(Drop.UNSEALED, "it is in the clear, and this federation encrypts")
        try:
            wire = unpacked(data, _Sealed)
            known = self._by_tag.get(wire.tag)
            return self._open_own(wire, now) if known is None else decrypt(known[0], wire.sealed, known[1])
        except NotPacked as error:
            raise AnnouncementError(Drop.MALFORMED, f"not a sealed announcement: {error}") from error
        except (CannotDecrypt, WrongKey) as error:
            raise AnnouncementError(Drop.UNREADABLE, str(error)) from error

    def former_author(self, data: bytes, now: float) -> Member | None:
        """The former member that sent ``data``, if a former member's key is in it: it cannot open what we seal now.

        ``data`` is opened once more for that, not more often than announcements sealed to us alone."""
        if not self._encrypted or not self._former:
            return None
        if not self._lookings.take(now):
            return None
        try:
            signed = parse_announcement(self.open(data, now))
        except AnnouncementError:
            return None
        former = self._former.get(signed.announcement.by)
        return former if former is not None and former.signing == signed.envelope.key else None

    def _open_own(self, wire: _Sealed, now: float) -> bytes:
        if len(wire.sealed) > MAX_ALONE:
            raise AnnouncementError(Drop.TOO_LARGE, f"{len(wire.sealed)} bytes are sealed under no key of all members'")
        if all(wire.tag != member_tag(self._federation, key) for key in self._reader.encryption_keys):
            raise AnnouncementError(Drop.UNREADABLE, "it is sealed under a key that we do not have")
        if not self._openings.take(now):
            raise AnnouncementError(Drop.RATE_LIMITED, f"more than {OPENINGS} a second are sealed to us alone")
        return self._reader.open(wire.sealed, AnnouncementSeal(self._federation, self._reader.member))


def _older_keys(
    manifest: Manifest, after: Manifest | None, source: BlockSource, reader: Reader
) -> Iterator[tuple[list[Member], int, SymmetricKey | None]]:
    """For each manifest key between those of ``manifest`` and ``after``, newest first: the members that had it last,
    the version that brought it, and the key if ``reader`` can open it. Members that left are included: they kept the
    key."""
    met = {manifest.key_commitment}
    link = manifest.cid if manifest.encrypted else None
    while link is not None and (after is None or link != after.cid) and len(met) < MAX_KEYS:
        body = read_record(link, source).body
        assert isinstance(body, Federation)  # whoever trusts the newest version has read it
        if body.key is not None and body.epoch is not None and body.key.commitment not in met:
            met.add(body.key.commitment)
            members = list(typed_items(body.members, Member, source))
            listed = next((member for member in members if member.id == reader.member), None)
            yield members, body.epoch, reader.manifest_key(body, listed, source)
        link = body.prev


# -- the wire --------------------------------------------------------------------------------------------------------


class _Sealed(msgspec.Struct, frozen=True, array_like=True):
    tag: Annotated[bytes, Meta(min_length=TAG_SIZE, max_length=TAG_SIZE)]
    sealed: bytes

"""The words of members about shreddings, as a home makes, takes and keeps them."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass

from crypto.identity import Identity
from peer.home.federations import FederationStore, StoredFederation
from peer.home.home import Home
from peer.home.journal import Journal
from protocol.blocks.cid import CID
from protocol.federation.erasures import ErasureWord, NotAWord, read_claim, read_word
from protocol.federation.manifest import Manifest
from protocol.federation.shreddings import Shredding
from protocol.records.bodies import Erasure
from protocol.records.signed_records import sign_record


def word_of(identity: Identity, manifest: Manifest, *, destroyed: bool, now: float) -> ErasureWord:
    """What ``identity`` says of the shreddings up to ``manifest``, signed with its newest key."""
    body = Erasure(
        by=identity.id,
        time=now,
        manifest=manifest.cid,
        version=manifest.version,
        destroyed=destroyed,
        key=identity.public_for(bytes(manifest.federation)).key_text(),
    )
    return read_word(sign_record(body, [identity.signing]).data)


def kept_words(stored: StoredFederation, journal: Journal) -> dict[bytes, ErasureWord]:
    """The newest word of each member, by id."""
    words = {}
    for block in journal.erasures(stored.id):
        with contextlib.suppress(NotAWord):  # a later version may write what this one does not read
            word = read_word(block.data)
            words[word.member] = word
    return words


def kept_word(member: bytes, stored: StoredFederation, journal: Journal) -> ErasureWord | None:
    """The newest word of one member. Only that one is verified."""
    for block in journal.erasures(stored.id):
        with contextlib.suppress(NotAWord):
            if read_claim(block.data).body.by == member:
                return read_word(block.data)
    return None


def said_by(member: bytes, home: Home, journal: Journal) -> dict[CID, ErasureWord]:
    """The newest word of one member, by federation."""
    found = ((stored.id, kept_words(stored, journal).get(member)) for stored in FederationStore(home).all())
    return {federation: word for federation, word in found if word is not None}


def take_word(word: ErasureWord, stored: StoredFederation, journal: Journal) -> bool:
    """Keep what a member says, if it is a member's, and newer than what this home has. Returns whether it is."""
    known = kept_word(word.member, stored, journal)
    if not word.is_by_member(stored.manifest) or not (known is None or word.is_newer_than(known)):
        return False
    journal.keep_erasure(stored.id, word.member, word.block, time.time())
    return True


@dataclass(frozen=True, slots=True)
class MemberStatus:
    """How far one member is with one shredding, as this home has heard."""

    member: bytes
    word: ErasureWord | None
    confirmed: bool
    """Whether it says that it has destroyed the keys."""
    awaits_admin: bool
    """Whether it has new keys, which an admin has to list first."""

    @property
    def since(self) -> float | None:
        """When it said so, by its own clock; None if it has not said anything of this shredding."""
        return None if self.word is None else self.word.body.time


def statuses(stored: StoredFederation, shredding: Shredding, journal: Journal) -> Iterator[MemberStatus]:
    """How far each member is that was there when the shredding was ordered, and still is."""
    words = kept_words(stored, journal)
    for member in stored.manifest.members:
        then = stored.encryption_keys(member, shredding.version)
        if not then:
            continue
        word = words.get(member)
        if word is not None and (word.body.version < shredding.version or word.keys.encryption.raw in then):
            word = None
        confirmed = word is not None and word.confirms(shredding, then)
        yield MemberStatus(
            member, word, confirmed, word is not None and not confirmed and word.brings_keys(stored.manifest)
        )

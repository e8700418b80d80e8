"""What a member does about shreddings, step by step, and what it says to the others of it.

A member's long-lived decryption keys open the wraps in its runs' `Keys` records, and those records belong to the chain:
they stay. So the private key that opens them has to go. Before that, a member keeps what stays readable under new keys.
It may destroy the old ones only when every federation lists the new ones; otherwise it would be locked out of what
comes next.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from crypto.dsse import BadSignature
from crypto.errors import BadKeyText, CannotDecrypt
from crypto.identity import PublicIdentity
from crypto.lines import BadLine, read_line, write_line
from crypto.symmetric import SymmetricKey
from protocol.blocks.cid import CID, Block, BlockError, cbor_data_block
from protocol.federation.manifest import Manifest
from protocol.federation.shreddings import Shredding
from protocol.records.bodies import Erasure
from protocol.records.contexts import ErasureMessage, decrypt, encrypt
from protocol.records.signed_records import parse_record

MAX_WORD: Final = 16 << 10
"""Bytes of a word: its KEY has 8 KiB at most."""

_PREFIX: Final = "pollen-erasure-1."


class Step(StrEnum):
    """What a member has to do next."""

    NOTHING = "nothing"
    NEW_KEYS = "new-keys"
    """Make new keys: those that it has open what is to be unreadable."""
    WAIT = "wait"
    """Wait until every federation of the home lists the new keys."""
    DESTROY = "destroy"
    """Keep what stays under the new keys, destroy the old ones, and say so."""


class NotAWord(Exception):
    """Not a member's word about shreddings, or one that proves not to be that member's."""


@dataclass(frozen=True, slots=True)
class ErasureWord:
    """A word whose signature and KEY are right. Who may say it, a manifest tells (`is_by_member`)."""

    block: Block
    body: Erasure
    keys: PublicIdentity

    @property
    def member(self) -> bytes:
        """The member's id."""
        return self.body.by

    def is_by_member(self, manifest: Manifest) -> bool:
        """Whether the member is listed with these keys, or with keys before them."""
        member = manifest.members.get(self.member)
        if member is None or self.keys.federation != bytes(manifest.federation):
            return False
        known = self.keys.handovers.by(member.signing) if self.keys.handovers else None
        return member.signing == self.keys.signing.raw or known is not None

    def brings_keys(self, manifest: Manifest) -> bool:
        """Whether an admin still has to list the keys in it."""
        return self.is_by_member(manifest) and manifest.members[self.member].signing != self.keys.signing.raw

    def confirms(self, shredding: Shredding, keys_then: Collection[bytes]) -> bool:
        """Whether the member says that it carried this shredding out. ``keys_then`` are the encryption keys that it had
        up to the version that ordered it: whoever goes on with one of those has destroyed nothing."""
        said = self.body.destroyed and self.body.version >= shredding.version
        return said and self.keys.encryption.raw not in keys_then

    def is_newer_than(self, other: ErasureWord) -> bool:
        """Whether it says more than the other word of this member."""
        return self._place > other._place

    @property
    def _place(self) -> tuple[int, bool, float]:
        return self.body.version, self.body.destroyed, self.body.time

    def line(self) -> str:
        """The word as one line that people hand on."""
        return write_line(_PREFIX, self.block.data)


def read_word(data: bytes) -> ErasureWord:
    """The word in a record block.

    Raises:
        NotAWord: if it is none, or its signature is wrong, or its KEY is of somebody else.
    """
    if len(data) > MAX_WORD:
        raise NotAWord(f"{len(data)} bytes are more than a word has")
    try:
        block = cbor_data_block(data)
        record = parse_record(block)
        if not isinstance(record.body, Erasure):
            raise NotAWord(f"it is a {record.body.TYPE} record")
        record.check_signatures()  # one, before the up to 33 in its KEY
        keys = PublicIdentity.parse_key_text(record.body.key)
        if keys.id != record.body.by or record.signers != (keys.signing.raw,):
            raise NotAWord("its KEY is not its author's, or did not sign it")
    except (BlockError, BadKeyText, BadSignature) as error:
        raise NotAWord(str(error)) from error
    return ErasureWord(block, record.body, keys)


def read_line_of_word(text: str) -> ErasureWord:
    """The word in a line. Raises as `read_word`."""
    try:
        return read_word(read_line(_PREFIX, text.strip(), what="word", limit=2 * MAX_WORD))
    except BadLine as error:
        raise NotAWord(str(error)) from error


# -- between members -------------------------------------------------------------------------------------------------


def topic_erasure(federation: CID) -> str:
    """Where members say how far they are with shreddings."""
    return f"/pollen/1/{federation}/erasure"


def closed_word(word: ErasureWord, federation: CID, swarm_key: bytes) -> bytes:
    """The word as it goes over the topic. The swarm key closes it: each member has that, whatever manifest it knows."""
    return encrypt(SymmetricKey(swarm_key), word.block.data, ErasureMessage(federation))


@dataclass(frozen=True, slots=True)
class Claim:
    """Bytes that claim to be a member's word. Nothing is verified."""

    block: Block
    body: Erasure
    signer: bytes
    """The key that is said to have signed it."""


def open_claim(data: bytes, federation: CID, swarm_key: bytes) -> Claim:
    """What `closed_word` closed: cheap to read, whoever has the swarm key wrote it. `read_word` verifies its block.

    Raises:
        NotAWord: if it is none.
    """
    if len(data) > 2 * MAX_WORD:
        raise NotAWord(f"{len(data)} bytes are more than a word has")
    try:
        return read_claim(decrypt(SymmetricKey(swarm_key), data, ErasureMessage(federation)))
    except CannotDecrypt as error:
        raise NotAWord(f"it does not open with the swarm key: {error}") from error


def read_claim(data: bytes) -> Claim:
    """Whose word a record block claims to be. Raises as `open_claim`."""
    if len(data) > MAX_WORD:
        raise NotAWord(f"{len(data)} bytes are more than a word has")
    try:
        block = cbor_data_block(data)
        record = parse_record(block)
    except BlockError as error:
        raise NotAWord(str(error)) from error
    if not isinstance(record.body, Erasure) or len(record.signers) != 1:
        raise NotAWord("it is no word that one key signed")
    return Claim(block, record.body, record.signers[0])


# -- what to do ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class OwnPart:
    """What a member knows of itself in one federation."""

    manifest: Manifest
    """The newest."""
    keys_then: Mapping[int, frozenset[bytes]]
    """By version that brought a shredding: the encryption keys with which the manifests up to there listed the
    member."""
    said: ErasureWord | None
    """Its newest word."""

    def open_shreddings(self, member: bytes) -> list[Shredding]:
        """Those that it has not said to have carried out. One that was there before it was a member concerns it not."""
        return [
            each
            for each in self.manifest.shredded
            if member in self.manifest.members
            and self.keys_then.get(each.version)
            and not (self.said is not None and self.said.confirms(each, self.keys_then[each.version]))
        ]


def next_step(member: bytes, newest: bytes, parts: Iterable[OwnPart]) -> Step:
    """What ``member`` does next, whose newest encryption key is ``newest``, in the federations in which it has
    ``parts``. One identity has the same keys in all of them."""
    mine = [part for part in parts if member in part.manifest.members]
    due = [(part, each) for part in mine for each in part.open_shreddings(member)]
    if not due:
        return Step.NOTHING
    if any(newest in part.keys_then[each.version] for part, each in due):
        return Step.NEW_KEYS
    if any(part.manifest.members[member].encryption.key != newest for part in mine):
        return Step.WAIT
    return Step.DESTROY

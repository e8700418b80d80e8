"""The federation of a simulation: its keys come from names, so that every run has the same."""

from __future__ import annotations

import hashlib
from functools import cache

from sim_time import EPOCH

from crypto import dsse
from crypto.identity import sign_first_keys
from crypto.keys import DecryptionKey, SigningKey
from crypto.symmetric import SymmetricKey
from protocol.blocks.cid import CID, Block, MemoryBlocks
from protocol.federation.manifest import Manifest, first_manifest
from protocol.federation.readers import Reader
from protocol.federation.unsigned_versions import UnsignedVersion, new_federation, with_member, without_member
from protocol.records.bodies import EncryptionKeyText, Member, Role
from protocol.records.signed_records import parse_record, sign_record

OTHER_SERVERS = "second", "third", "fourth"
"""The names of the servers that stand by."""

DESK = "desk"
"""The name of the member whose home has the admin's key. It votes for nobody."""


@cache
def key_of(name: str) -> SigningKey:
    """The signing key of the member called ``name``."""
    return _Key.from_seed(hashlib.sha256(name.encode()).digest())


class _Key(SigningKey):
    """A key whose signatures need no verification in this process, which made them. Of one in 16 that is not believed:
    those are verified as in a federation."""

    __slots__ = ()

    def sign(self, message: bytes) -> bytes:
        signature = super().sign(message)
        if signature[0] >= 16:
            dsse._RIGHT.add(self.verify_key.raw + signature + hashlib.sha256(message).digest(), True)
        return signature


@cache
def _decryption_key(name: str) -> DecryptionKey:
    return DecryptionKey.from_seed(hashlib.sha256(b"decryption " + name.encode()).digest())


def reader_of(name: str) -> Reader:
    """The reader called ``name``, with what it opens."""
    return Reader(key_of(name).verify_key.raw, [_decryption_key(name)])


@cache
def founded(names: tuple[str, ...], *, encrypted: bool) -> tuple[Block, ...]:
    """Version 1 of the manifest, and the blocks it needs: one server and clients."""
    members = [_member(name, key_of("admin").verify_key.raw) for name in names]
    unsigned = new_federation(
        name="simulated",
        admins=[key_of("admin").verify_key.raw],
        members=members,
        names={member.id: name for member, name in zip(members, names, strict=True)},
        by=key_of("admin").verify_key.raw,
        time=EPOCH,
        key=SymmetricKey(hashlib.sha256(b"manifest key").digest()) if encrypted else None,
    )
    return _signed(unsigned)


@cache
def with_newcomer(names: tuple[str, ...], *, encrypted: bool) -> tuple[Block, ...]:
    """Version 2: one more client, which never comes."""
    current = _first(names, encrypted=encrypted)
    return _signed(
        with_member(
            current, _member("newcomer", bytes(current.federation)), "newcomer", by=current.admins[0], time=EPOCH
        )
    )


@cache
def without(leaver: str, names: tuple[str, ...], *, encrypted: bool) -> tuple[Block, ...]:
    """Version 2: one client less, so that there is another manifest key."""
    current = _first(names, encrypted=encrypted)
    return _signed(without_member(current, key_of(leaver).verify_key.raw, by=current.admins[0], time=EPOCH))


def _first(names: tuple[str, ...], *, encrypted: bool) -> Manifest:
    first, *needed = founded(names, encrypted=encrypted)
    return first_manifest(parse_record(first), MemoryBlocks(by_cid(tuple(needed))), reader_of("server"))


def by_cid(blocks: tuple[Block, ...]) -> dict[CID, bytes]:
    """The blocks as a mapping."""
    return {block.cid: block.data for block in blocks}


def _signed(unsigned: UnsignedVersion) -> tuple[Block, ...]:
    return sign_record(unsigned.body, [key_of("admin")]), *unsigned.blocks


def _member(name: str, place: bytes) -> Member:
    """``place`` is what its proof names: the federation, or, in version 1, its founder."""
    key, public = key_of(name), _decryption_key(name).public
    roles = {"keeper": Role.KEEPER, DESK: Role.AUDITOR} | dict.fromkeys(("server", *OTHER_SERVERS), Role.SERVER)
    role = roles.get(name, Role.CLIENT)
    encryption = EncryptionKeyText(suite=public.suite.value, key=public.raw)
    proof = sign_first_keys(key, encryption.suite, encryption.key, place)
    id = key.verify_key.raw
    return Member(id=id, signing=id, encryption=encryption, roles=(role,), proof=proof)

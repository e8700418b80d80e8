"""The federation of a simulation: its keys come from names, so that every run has the same."""

from __future__ import annotations

import hashlib
from functools import cache

from sim_time import EPOCH

from crypto.keys import SigningKey
from protocol.blocks import CID, Block, MemoryBlocks
from protocol.manifest import first_manifest
from protocol.manifest_drafts import Draft, new_federation, with_member
from protocol.records import EncryptionKeyText, Member, Role
from protocol.signed import parse_record, sign_record


@cache
def key_of(name: str) -> SigningKey:
    """The signing key of whoever is called ``name``."""
    return SigningKey.from_seed(hashlib.sha256(name.encode()).digest())


@cache
def founded(names: tuple[str, ...]) -> tuple[Block, ...]:
    """Version 1 of the manifest, and the blocks it needs: one server and clients."""
    members = [_member(name) for name in names]
    draft = new_federation(
        name="simulated",
        admins=[key_of("admin").verify_key.raw],
        members=members,
        names={member.id: name for member, name in zip(members, names, strict=True)},
        by=key_of("admin").verify_key.raw,
        time=EPOCH,
    )
    return _signed(draft)


@cache
def with_newcomer(names: tuple[str, ...]) -> tuple[Block, ...]:
    """Version 2: one more client, which never comes."""
    first, *needed = founded(names)
    current = first_manifest(parse_record(first), MemoryBlocks(by_cid(tuple(needed))))
    newcomer = _member("newcomer")
    return _signed(with_member(current, newcomer, "newcomer", by=key_of("admin").verify_key.raw, time=EPOCH))


def by_cid(blocks: tuple[Block, ...]) -> dict[CID, bytes]:
    """The blocks as a mapping."""
    return {block.cid: block.data for block in blocks}


def _signed(draft: Draft) -> tuple[Block, ...]:
    return sign_record(draft.body, [key_of("admin")]), *draft.blocks


def _member(name: str) -> Member:
    key = key_of(name).verify_key.raw
    role = Role.SERVER if name == "server" else Role.CLIENT
    return Member(id=key, signing=key, encryption=EncryptionKeyText(suite="simulated", key=b"none"), roles=(role,))

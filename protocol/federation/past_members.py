"""Who was listed in a federation in earlier versions of its manifest."""

from __future__ import annotations

from dataclasses import dataclass

from protocol.blocks.cid import BlockSource
from protocol.federation.manifest import Manifest
from protocol.federation.readers import Reader, read_manifest_private
from protocol.records.bodies import Federation, Member
from protocol.records.signed_records import read_record, typed_items


@dataclass(frozen=True, slots=True)
class Listed:
    """What some versions of a manifest list."""

    ids: frozenset[bytes] = frozenset()
    """The ids of members."""
    encryption: frozenset[bytes] = frozenset()
    """Their encryption keys."""
    names: frozenset[str] = frozenset()
    """Their names, if the reader can read them."""


def listed_since(manifest: Manifest, version: int, source: BlockSource, reader: Reader) -> Listed:
    """What ``manifest`` and the versions before it list, back to number ``version``.

    ``source`` has all of them. ``manifest`` was verified, so nothing is checked again.

    Raises:
        protocol.blocks.cid.BlockError: if ``source`` lacks a block.
    """
    ids: set[bytes] = set()
    encryption: set[bytes] = set()
    names: set[str] = set()
    link = manifest.cid
    while True:
        body = read_record(link, source).body
        assert isinstance(body, Federation)  # whoever trusts the newest version has read it
        members = {member.id: member for member in typed_items(body.members, Member, source)}
        ids.update(members)
        encryption.update(member.encryption.key for member in members.values())
        key = reader.manifest_key(body, members.get(reader.member), source)
        private = read_manifest_private(body, key)
        if private is not None:
            names.update(name for _, name in private.names)
        if body.prev is None or body.version <= version:
            return Listed(frozenset(ids), frozenset(encryption), frozenset(names))
        link = body.prev

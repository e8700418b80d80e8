"""The manifest: who is in a federation, and how one version follows from another (design sections 6 and 7)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from protocol.blocks import CID, Block, BlockError, BlockSource
from protocol.records import Federation, Member, Record, Role


class ManifestError(BlockError):
    """A manifest that must not be trusted. ``rule`` is the broken rule's name, as audits show it."""

    def __init__(self, rule: str, message: str) -> None:
        super().__init__(f"{rule}: {message}")
        self.rule = rule


def node_id(member_id: bytes) -> int:
    """The Flower node id of a member: 63 bits of the SHA-256 of its id."""
    raise NotImplementedError


@dataclass(frozen=True, slots=True)
class Settings:
    """Limits that hold in the whole federation."""

    max_content_bytes: int = 16 << 30
    """A content, all its chunks together."""
    max_app_bytes: int = 64 << 20
    """An app bundle, unpacked."""
    max_reason_chars: int = 2_000
    """Why a reply is an error; longer ones are cut by who writes them and refused by who reads them."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """A trusted version of a federation's manifest. Built by `first_manifest` and `next_manifest` alone."""

    cid: CID
    """Of the `Federation` record's block."""
    federation: CID
    """Of version 1's block: the federation's id."""
    version: int
    admins: tuple[bytes, ...]
    """Signing keys."""
    threshold: int
    members: Mapping[bytes, Member]
    """By id, in rising order."""
    name: str
    """Empty where the private part is encrypted, as are ``names``; ``settings`` are the defaults then."""
    names: Mapping[bytes, str]
    settings: Settings

    def member_by_key(self, key: bytes) -> Member | None:
        """The member whose signing key is ``key`` in this version."""
        raise NotImplementedError

    def member_by_node(self, node: int) -> Member | None:
        """The member with this Flower node id."""
        raise NotImplementedError

    def nodes_of(self, role: Role) -> tuple[int, ...]:
        """The node ids of the members with ``role``, in rising order."""
        raise NotImplementedError

    def name_of(self, member_id: bytes) -> str:
        """What people see: the member's name, or its ``did:key``."""
        raise NotImplementedError


def first_manifest(record: Record, source: BlockSource) -> Manifest:
    """Version 1, trusted because its CID is the federation's id and it is signed by enough of its own admins.

    Raises:
        ManifestError: where it breaks a rule; `protocol.blocks.MissingBlock` where ``source`` lacks a part of it.
    """
    raise NotImplementedError


def next_manifest(current: Manifest, record: Record, source: BlockSource) -> Manifest:
    """The version after ``current``. Raises as `first_manifest`."""
    raise NotImplementedError


def manifest_at(cid: CID, federation: CID, source: BlockSource, known: Manifest | None = None) -> Manifest:
    """The manifest in block ``cid``, with its whole chain checked: from ``known`` where given, else from version 1.

    Raises:
        ManifestError: where a version breaks a rule, or the chain does not lead to ``known`` or to ``federation``.
        protocol.blocks.MissingBlock: where ``source`` lacks a block of it.
    """
    raise NotImplementedError


@dataclass(frozen=True, slots=True)
class Draft:
    """A manifest version to be signed (`protocol.records.sign_record`) and the blocks to store with it."""

    body: Federation
    blocks: tuple[Block, ...]


def new_federation(
    *,
    name: str,
    admins: Sequence[bytes],
    members: Sequence[Member],
    names: Mapping[bytes, str],
    by: bytes,
    time: float,
    threshold: int = 1,
    settings: Settings = Settings(),  # noqa: B008  # frozen
) -> Draft:
    """Version 1. ``admins`` are signing keys; ``by`` is one of them."""
    raise NotImplementedError


def with_member(manifest: Manifest, member: Member, name: str, *, by: bytes, time: float) -> Draft:
    """The next version, in which ``member`` is listed; it replaces one of the same id."""
    raise NotImplementedError


def without_member(manifest: Manifest, member_id: bytes, *, by: bytes, time: float) -> Draft:
    """The next version, in which the member is not listed."""
    raise NotImplementedError

"""The rules of manifests, by name (docs/protocol.md, section 5). `protocol.federation.manifest` applies them."""

from __future__ import annotations

from enum import StrEnum

from protocol.blocks.cid import BlockError


class ManifestRule(StrEnum):
    """What must hold for a manifest to be trusted, in the order in which it is checked."""

    TYPE = "manifest-type"
    """The block holds a `Federation` record."""
    SUCCESSION = "manifest-succession"
    """Version 1 has no ``prev``; any other has the version before, and a number one higher."""
    ADMINS = "manifest-admins"
    """At least one admin: valid Ed25519 keys in rising order, each once."""
    THRESHOLD = "manifest-threshold"
    """No more signatures are asked for than there are admins."""
    AUTHOR = "manifest-author"
    """``by`` is an admin of this version."""
    SIGNATURE = "manifest-signature"
    """Every signature is right, and is by an admin of this version or of the one before."""
    SIGNERS = "manifest-signers"
    """Enough admins of this version signed."""
    OLD_SIGNERS = "manifest-old-signers"
    """Enough admins of the version before signed."""
    MEMBERS = "manifest-members"
    """At most `protocol.federation.member_rules.MAX_MEMBERS`, in rising order of id, each once."""
    MEMBER_ROLES = "manifest-member-roles"
    """A member has a role, and each once; a keeper has no other."""
    MEMBER_KEYS = "manifest-member-keys"
    """Signing keys are valid and nobody else's key or id; an encryption key is present."""
    HANDOVER = "manifest-handover"
    """A member's first keys are signed with its id, newer ones with the old signing key and with the new one."""
    REVOKED = "manifest-revoked"
    """Revoked keys are in rising order and stay; no member's key or id and no admin is among them."""
    NODES = "manifest-nodes"
    """No two members have one Flower node id."""
    NAMES = "manifest-names"
    """The federation has a name; members' names are in rising order of id; all printable, not empty, no two alike."""
    SETTINGS = "manifest-settings"
    """Settings are known, positive, in rising order of name, each once."""
    ADDRESSES = "manifest-addresses"
    """Addresses are of nodes, each with its name, that others could reach; in rising order, each once."""
    SHREDDED = "manifest-shredded"
    """Shredded runs are in rising order, each once, and stay; only a federation that encrypts has any."""
    VOTERS = "manifest-voters"
    """Runs whose voters are named are in rising order, each once, and so are the voters of each."""
    PRIVATE = "manifest-private"
    """The private part, if it can be read, is a manifest's."""
    ENCRYPTION = "manifest-encryption"
    """All versions of a federation encrypt, or none; ``epoch`` is the version that brought the manifest key."""
    KEY_READERS = "manifest-key-readers"
    """The manifest key is wrapped for every member and nobody else. It is new if a reader of the old one left."""
    FEDERATION = "manifest-federation"
    """The chain of versions leads to the federation, or to the known version."""


class ManifestError(BlockError):
    """A manifest that must not be trusted."""

    def __init__(self, rule: ManifestRule, message: str) -> None:
        super().__init__(f"{rule}: {message}")
        self.rule = rule

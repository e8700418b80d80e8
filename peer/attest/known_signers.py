"""Whose key signed something, as far as the federations that are known here say."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from crypto.identity import PublicIdentity
from crypto.keys import VerifyKey
from peer.base.errors import ExitCode, PeerError
from peer.home.federations import StoredFederation
from peer.home.keystore import translated
from protocol.visible import named


class Standing(StrEnum):
    """What became of a key in a federation."""

    MEMBER = "member"
    """It is its owner's newest."""
    ROTATED = "rotated"
    """Its owner has a newer one."""
    REMOVED = "removed"
    """Its owner is no member any more."""
    REVOKED = "revoked"
    """An admin has said that it never counts again: somebody else may have it."""


@dataclass(frozen=True, slots=True)
class KnownSigner:
    """A member of a federation whose key it is, or was."""

    name: str
    """As the newest manifest that lists the key has it; a did:key if that cannot be read here."""
    roles: tuple[str, ...]
    standing: Standing
    federation: StoredFederation
    version: int
    """Of the newest manifest that lists the key."""

    def in_words(self) -> str:
        """As a sentence has it."""
        title, newest = self.federation.manifest.title, self.federation.manifest.version
        who = f"{named(self.name)}, {' and '.join(self.roles) or 'without a role'} in {title}"
        match self.standing:
            case Standing.MEMBER:
                return who
            case Standing.ROTATED:
                return f"{who}, by a key that it has replaced since: version {self.version} was the last with it"
            case Standing.REMOVED:
                return f"{who} up to version {self.version} of the manifest; no member in version {newest}"
            case Standing.REVOKED:
                return f"{who}, by a key that is revoked since: somebody else may have signed"


def known_signers(key: VerifyKey, known: Sequence[StoredFederation]) -> list[KnownSigner]:
    """Who has, or had, ``key`` in each of the federations."""
    return [found for stored in known if (found := _in_federation(key.raw, stored)) is not None]


def _in_federation(key: bytes, stored: StoredFederation) -> KnownSigner | None:
    listed = stored.listing(key)
    member = None if listed is None else listed.member_by_key(key)
    if listed is None or member is None:
        return None
    newest = stored.manifest
    if key in newest.revoked:
        standing = Standing.REVOKED
    elif member.id not in newest.members:
        standing = Standing.REMOVED
    elif newest.member_by_key(key) is None:
        standing = Standing.ROTATED
    else:
        standing = Standing.MEMBER
    roles = tuple(role.value for role in member.roles) + (("admin",) if key in listed.admins else ())
    return KnownSigner(listed.name_of(member.id), roles, standing, stored, listed.version)


def keys_named(by: str, known: Sequence[StoredFederation]) -> frozenset[bytes]:
    """The signing keys of whom ``by`` names: a did:key, a KEY, or a member's name in a federation that is ``known``.

    A member has all the keys that it ever had, and so has a KEY, whose owner signed that they are its own.

    Raises:
        PeerError: if it names nobody, or several.
    """
    if by.startswith("pollen-key-"):
        with translated(""):
            return _keys_of(PublicIdentity.parse_key_text(by))
    if by.startswith("did:"):
        with translated(""):
            key = VerifyKey.from_did(by).raw
        members = [
            stored.signing_keys(member.id)
            for stored in known
            if (member := stored.manifest.members.get(key) or stored.manifest.member_by_key(key)) is not None
        ]
        return frozenset((key,)).union(*members)
    found: dict[bytes, frozenset[bytes]] = {}
    for stored in known:
        for member_id, name in stored.manifest.names.items():
            if name == by:
                found[member_id] = found.get(member_id, frozenset()) | stored.signing_keys(member_id)
    match list(found.values()):
        case [keys]:
            return keys
        case []:
            titles = ", ".join(map(_title, known)) or "none"
            raise PeerError(
                f"nobody is called {by!r} in the federations that are known here: {titles}",
                fix="give the signer's did:key or KEY (peer keys show, on its machine), or --federation FILE",
                code=ExitCode.WRONG_USE,
            )
    raise PeerError(
        f"several members are called {by!r} in the federations that are known here",
        fix="say which federation with --federation, or give the signer's did:key",
        code=ExitCode.WRONG_USE,
    )


def _title(stored: StoredFederation) -> str:
    manifest = stored.manifest
    return manifest.title if manifest.readable else f"{manifest.title} (its names are encrypted for its members)"


def _keys_of(identity: PublicIdentity) -> frozenset[bytes]:
    earlier = () if identity.handovers is None else (key for key, _ in identity.handovers.old)
    return frozenset((identity.signing.raw, *earlier))

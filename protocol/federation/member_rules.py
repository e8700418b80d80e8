"""Checks the members and revoked keys of each version of a manifest (`protocol.federation.manifest_rules`)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Final

from crypto.dsse import BadSignature
from crypto.handover import NewKeys
from crypto.identity import ANY_FEDERATION, check_first_keys
from crypto.keys import BadKey, VerifyKey
from protocol.blocks.cid import BlockSource
from protocol.federation.manifest_rules import ManifestError, ManifestRule
from protocol.records.bodies import Federation, Key, Member, Role
from protocol.records.signed_records import typed_items

MAX_MEMBERS: Final = 65_536
MAX_REVOKED: Final = 65_536
MAX_ENCRYPTION_KEY: Final = 4_096
"""Bytes; the hybrid with ML-KEM-768 takes 1,216."""


def check_key(rule: ManifestRule, key: bytes) -> None:
    """Raise a ManifestError with ``rule`` if ``key`` is not an Ed25519 public key."""
    try:
        VerifyKey.parse(key)
    except BadKey as error:
        raise ManifestError(rule, f"{key.hex()}: {error}") from error


def read_members(
    body: Federation, before: Mapping[bytes, Member], federation: bytes, source: BlockSource
) -> dict[bytes, Member]:
    """The members of a version, by id. ``before`` are the members of the version before.

    ``federation`` is what their proofs and hand-overs have to name: the federation's id, or in version 1 its founder.

    Raises:
        ManifestError: if they break a rule about members.
    """
    members: dict[bytes, Member] = {}
    last = b""
    for member in typed_items(body.members, Member, source):
        if member.id <= last or len(members) == MAX_MEMBERS:
            raise ManifestError(ManifestRule.MEMBERS, f"members are not at most {MAX_MEMBERS} in rising order of id")
        if member != before.get(member.id):  # an unchanged one was checked with the version before
            _check_member(member)
        members[last := member.id] = member
    keys = {member.signing for member in members.values()}
    rotated = [member for member in members.values() if member.signing != member.id]
    if len(keys) != len(members) or any(member.signing in members for member in rotated):
        raise ManifestError(ManifestRule.MEMBER_KEYS, "a signing key is also another member's key or id")
    for member in members.values():
        if member != before.get(member.id):
            _check_keys(member, before.get(member.id), federation)
    return members


def _check_member(member: Member) -> None:
    shown = member.id.hex()
    if not member.roles or len(set(member.roles)) != len(member.roles):
        raise ManifestError(ManifestRule.MEMBER_ROLES, f"{shown} has no role, or one twice")
    if Role.KEEPER in member.roles and len(member.roles) > 1:
        raise ManifestError(ManifestRule.MEMBER_ROLES, f"{shown} is a keeper, which reads nothing, and more than that")
    check_key(ManifestRule.MEMBER_KEYS, member.signing)
    if not member.encryption.suite or not 0 < len(member.encryption.key) <= MAX_ENCRYPTION_KEY:
        raise ManifestError(ManifestRule.MEMBER_KEYS, f"{shown} has no encryption key, or one of absurd length")


def _check_keys(member: Member, before: Member | None, federation: bytes) -> None:
    """Only the member itself brings in its keys, first or newer ones: no admin can, nor somebody with only one of the
    member's two signing keys."""
    shown = member.id.hex()
    if before is not None and member.signing == before.signing:
        if replace(member, roles=before.roles) != before:
            raise ManifestError(ManifestRule.HANDOVER, f"{shown} changed its hand-over or encryption key alone")
        return
    first = member.signing == member.id
    if first != (member.handover is None) or first != (member.proof is not None) or (first and before is not None):
        raise ManifestError(ManifestRule.HANDOVER, f"{shown} has a key that it did not bring in, or hand over to")
    try:
        _check_own(member, member.id if before is None else before.signing, federation)
    except BadSignature as error:
        raise ManifestError(ManifestRule.HANDOVER, f"{shown}: {error}") from error


def _check_own(member: Member, old: bytes, federation: bytes) -> None:
    """Check that the member, whose signing key was ``old``, signed for its keys: in this federation, as most do, or in
    any. A right signature is verified once in a process, a wrong one each time. Raises BadSignature."""
    try:
        _check_own_in(federation, member, old)
    except BadSignature:
        _check_own_in(ANY_FEDERATION, member, old)


def _check_own_in(federation: bytes, member: Member, old: bytes) -> None:
    suite, encryption = member.encryption.suite, member.encryption.key
    if member.proof is not None:
        signing = VerifyKey(member.signing)  # `_check_member` parsed it
        check_first_keys(signing, suite, encryption, federation, member.proof)
    if member.handover is not None:
        keys = NewKeys(federation, member.id, member.signing, suite, encryption)
        keys.check(old, member.handover.old)
        keys.check(member.signing, member.handover.new)


def read_revoked(
    body: Federation, before: Iterable[bytes], members: Mapping[bytes, Member], source: BlockSource
) -> tuple[bytes, ...]:
    """The keys that never count again. ``before`` are those of the version before.

    Raises:
        ManifestError: if a revoked key comes back, or is in use.
    """
    revoked: list[bytes] = []
    for key in typed_items(body.revoked, Key, source):
        if (revoked and key <= revoked[-1]) or len(revoked) == MAX_REVOKED:
            raise ManifestError(ManifestRule.REVOKED, f"revoked keys are not at most {MAX_REVOKED} in rising order")
        revoked.append(key)
    never_again = frozenset(revoked)
    if not never_again.issuperset(before):
        raise ManifestError(ManifestRule.REVOKED, "a key that was revoked is not any more")
    in_use = {*body.admins, *members, *(member.signing for member in members.values())}
    if found := never_again & in_use:
        raise ManifestError(ManifestRule.REVOKED, f"{min(found).hex()} is revoked and in use")
    return tuple(revoked)

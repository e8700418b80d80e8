"""Changing who is in a federation, and asking who is: each change is one more signed version of the manifest."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from types import MappingProxyType

from crypto.identity import Identity, PublicIdentity
from crypto.keys import VerifyKey
from peer.errors import ExitCode, PeerError
from peer.federation import StoredFederation
from protocol.blocks import CID, Block, MemoryBlocks
from protocol.manifest import Manifest, ManifestError, ManifestRule, manifest_at
from protocol.manifest_drafts import Draft, new_federation, with_member, without_member
from protocol.records import EncryptionKeyText, Member, Role
from protocol.signed import sign_record


def found_federation(
    founder: Identity, *, name: str, member_name: str, roles: Iterable[Role], swarm_key: bytes, time: float
) -> StoredFederation:
    """A new federation: version 1, signed by its founder, who is its admin and only member.

    Raises:
        PeerError: where it breaks a rule, as an impossible name does.
    """
    draft = new_federation(
        name=name,
        admins=[founder.signing.verify_key.raw],
        members=[_member(founder.public, roles)],
        names={founder.id: member_name},
        by=founder.id,
        time=time,
    )
    record = sign_record(draft.body, [founder.signing])
    blocks = _blocks(record, draft.blocks)
    try:
        manifest = manifest_at(record.cid, record.cid, MemoryBlocks(blocks))
    except ManifestError as error:
        raise _refused(error) from error
    return StoredFederation(manifest, MappingProxyType(blocks), swarm_key, ())


def add_member(
    stored: StoredFederation,
    admin: Identity,
    public: PublicIdentity,
    *,
    name: str,
    roles: Iterable[Role],
    time: float,
) -> StoredFederation:
    """The federation with a member more, or with one that was there under another name or in other roles.

    Raises:
        PeerError: where ``admin`` is none, or the name is taken or impossible.
    """
    _require_admin(stored.manifest, admin)
    return _advance(stored, admin, with_member(stored.manifest, _member(public, roles), name, by=admin.id, time=time))


def remove_member(stored: StoredFederation, admin: Identity, name: str, *, time: float) -> StoredFederation:
    """The federation without a member, who is named as `find_member` takes it.

    Raises:
        PeerError: where ``admin`` is none, or nobody is called that.
    """
    _require_admin(stored.manifest, admin)
    member = find_member(stored.manifest, name)
    return _advance(stored, admin, without_member(stored.manifest, member.id, by=admin.id, time=time))


def find_member(manifest: Manifest, name: str) -> Member:
    """The member with this name, ``did:key`` or id in hex.

    Raises:
        PeerError: where there is none.
    """
    for member in manifest.members.values():
        if name in (manifest.name_of(member.id), VerifyKey.parse(member.id).did, member.id.hex()):
            return member
    raise PeerError(
        f"nobody in the federation {manifest.name!r} is called {name!r}",
        mend="peer federation show lists the members",
        code=ExitCode.WRONG_USE,
    )


def require_role(manifest: Manifest, member_id: bytes, role: Role) -> None:
    """Return where the member has the role.

    Raises:
        PeerError: where it is no member, or has other roles; it names what an admin has to do.
    """
    member = manifest.members.get(member_id)
    if member is None:
        raise PeerError(
            f"this identity is not in the federation {manifest.name!r} (manifest version {manifest.version})",
            mend=f"send `peer keys show` to an admin, who runs: peer federation add KEY --name NAME --role {role}; "
            "then join again with a new export",
            code=ExitCode.WRONG_USE,
        )
    if role not in member.roles:
        has = ", ".join(member.roles)
        raise PeerError(
            f"{manifest.name_of(member_id)} is {has} in the federation {manifest.name!r}, not {role}",
            mend=f"start it with --role {member.roles[0]}, or ask an admin to run: "
            f"peer federation add KEY --name {manifest.name_of(member_id)} --role {role}; then join again",
            code=ExitCode.WRONG_USE,
        )


def _member(public: PublicIdentity, roles: Iterable[Role]) -> Member:
    key = EncryptionKeyText(suite=public.encryption.suite.value, key=public.encryption.raw)
    return Member(id=public.id, signing=public.id, encryption=key, roles=tuple(dict.fromkeys(roles)))


def _require_admin(manifest: Manifest, identity: Identity) -> None:
    if identity.signing.verify_key.raw not in manifest.admins:
        raise PeerError(
            f"{identity.name} is no admin of the federation {manifest.name!r}",
            mend="run it where the federation was founded, or name that identity with --identity NAME",
            code=ExitCode.WRONG_USE,
        )


def _advance(stored: StoredFederation, admin: Identity, draft: Draft) -> StoredFederation:
    record = sign_record(draft.body, [admin.signing])
    blocks = {**_blocks(record, draft.blocks), **stored.blocks}
    try:
        manifest = manifest_at(record.cid, stored.id, MemoryBlocks(blocks), known=stored.manifest)
    except ManifestError as error:
        raise _refused(error) from error
    return replace(stored, manifest=manifest, blocks=MappingProxyType(blocks))


def _blocks(record: Block, listings: Iterable[Block]) -> dict[CID, bytes]:
    return {block.cid: block.data for block in (record, *listings)}


def _refused(error: ManifestError) -> PeerError:
    match error.rule:
        case ManifestRule.NAMES:
            mend = "choose a name of 1 to 64 printable characters that nobody in the federation has"
        case ManifestRule.OLD_SIGNERS | ManifestRule.AUTHOR | ManifestRule.SIGNERS:
            mend = "only an admin may do that: use the identity that founded the federation, with --identity NAME"
        case _:
            mend = ""
    return PeerError(f"that cannot be the next manifest: {error}", mend=mend, code=ExitCode.WRONG_USE)

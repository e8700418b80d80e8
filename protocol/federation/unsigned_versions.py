"""New versions of a manifest, for whoever is to sign them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from crypto.symmetric import SymmetricKey
from protocol.blocks.cid import CID, Block
from protocol.blocks.listing import pack
from protocol.blocks.typed import to_plain
from protocol.federation.epochs import manifest_wraps
from protocol.federation.manifest import Manifest, Settings
from protocol.federation.shreddings import with_shredded
from protocol.records.bodies import (
    AddressedFederationPrivate,
    Federation,
    FederationPrivate,
    FederationPrivates,
    Member,
    RunVoters,
    ShreddedEpochs,
    ShreddingFederationPrivate,
    Voting,
)
from protocol.records.contexts import ManifestPrivate, version_place
from protocol.records.private_parts import private_part
from protocol.records.signed_records import private_bytes


class UnreadableManifest(Exception):
    """A manifest that its editor cannot read, and so cannot continue."""


@dataclass(frozen=True, slots=True)
class UnsignedVersion:
    """A version to be signed (`protocol.records.signed_records.sign_record`) and the ``blocks`` to store with it.

    Nobody has judged it: `protocol.federation.manifest` does that to the signed record.
    """

    body: Federation
    blocks: tuple[Block, ...]


def new_federation(
    *,
    name: str,
    admins: Iterable[bytes],
    members: Iterable[Member],
    names: Mapping[bytes, str],
    by: bytes,
    time: float,
    threshold: int = 1,
    settings: Settings | None = None,
    addresses: Iterable[str] = (),
    shredded: ShreddedEpochs = (),
    voting: Voting = Voting.ALL,
    voters: Mapping[CID, Iterable[bytes]] | None = None,
    revoked: Iterable[bytes] = (),
    key: SymmetricKey | None = None,
    version: int = 1,
    prev: CID | None = None,
    key_epoch: int = 1,
) -> UnsignedVersion:
    """Version 1, unless another ``version`` is given.

    ``admins`` are signing keys, and ``by`` is one of them. ``names`` is by member id. ``key`` is the manifest key,
    which version ``key_epoch`` brought; None if the federation does not encrypt. ``voters`` are the named ones, by run.
    """
    private = _private(name, names, settings or Settings(), tuple(sorted(set(addresses))), shredded)
    in_order = sorted(members, key=lambda member: member.id)
    listing, blocks = pack(to_plain(in_order))
    never_again, more = pack(sorted(revoked))
    named = tuple(RunVoters(run=run, voters=tuple(sorted(set(each)))) for run, each in sorted((voters or {}).items()))
    body = Federation(
        by=by,
        time=time,
        epoch=None if key is None else key_epoch,
        private=private_bytes(private),
        version=version,
        prev=prev,
        admins=tuple(sorted(set(admins))),
        threshold=threshold,
        members=listing,
        revoked=never_again,
        key=None,
        voting=voting,
        voters=named,
    )
    if key is None:
        return UnsignedVersion(body, (*blocks, *more))
    place = version_place(body)
    wrapped, wraps = manifest_wraps(key, in_order, place)
    body = replace(body, private=private_part(private, key, ManifestPrivate(place)), key=wrapped)
    return UnsignedVersion(body, (*blocks, *more, *wraps))


def next_version(
    manifest: Manifest,
    *,
    by: bytes,
    time: float,
    admins: Iterable[bytes] | None = None,
    threshold: int | None = None,
    members: Iterable[Member] | None = None,
    names: Mapping[bytes, str] | None = None,
    settings: Settings | None = None,
    addresses: Iterable[str] | None = None,
    shredded: ShreddedEpochs | None = None,
    voting: Voting | None = None,
    voters: Mapping[CID, Iterable[bytes]] | None = None,
    revoked: Iterable[bytes] | None = None,
) -> UnsignedVersion:
    """The version after ``manifest``. What is not given stays as it is. If fewer admins are left than have to sign,
    fewer have to.

    If a member leaves, or has another encryption key, the version brings a new manifest key.

    Raises:
        Unreadable: if the manifest is encrypted for others, because names and settings would be lost.
    """
    if not manifest.readable:
        raise UnreadableManifest(f"the manifest {manifest.cid} is encrypted for its members")
    listed = list(manifest.members.values() if members is None else members)
    admins = set(manifest.admins if admins is None else admins)
    key, key_epoch = manifest.key, manifest.key_epoch
    if key is not None and not _all_stay(manifest, listed):
        key, key_epoch = SymmetricKey.generate(), manifest.version + 1
    return new_federation(
        name=manifest.name,
        admins=admins,
        members=listed,
        names=manifest.names if names is None else names,
        by=by,
        time=time,
        threshold=max(1, min(manifest.threshold, len(admins))) if threshold is None else threshold,
        settings=settings or manifest.settings,
        addresses=manifest.addresses if addresses is None else addresses,
        shredded=with_shredded(manifest.shredded, (), epoch=1, reason="") if shredded is None else shredded,
        voting=voting or manifest.voting,
        voters=manifest.voters if voters is None else voters,
        revoked=manifest.revoked if revoked is None else revoked,
        key=key,
        version=manifest.version + 1,
        prev=manifest.cid,
        key_epoch=key_epoch or 1,
    )


def _private(
    name: str,
    names: Mapping[bytes, str],
    settings: Settings,
    addresses: tuple[str, ...],
    shredded: ShreddedEpochs,
) -> FederationPrivates:
    in_order, limits = tuple(sorted(names.items())), settings.pairs()
    if shredded:
        return ShreddingFederationPrivate(
            name=name, names=in_order, settings=limits, addresses=addresses, shredded=shredded
        )
    if not addresses:
        return FederationPrivate(name=name, names=in_order, settings=limits)
    return AddressedFederationPrivate(name=name, names=in_order, settings=limits, addresses=addresses)


def _all_stay(manifest: Manifest, listed: Iterable[Member]) -> bool:
    """Whether everybody with the manifest key may keep it."""
    encryption = {member.id: member.encryption for member in listed}
    return all(encryption.get(member.id) == member.encryption for member in manifest.members.values())


def with_member(
    manifest: Manifest, member: Member, name: str | None, *, by: bytes, time: float, admin: bool | None = None
) -> UnsignedVersion:
    """The next version, with ``member`` in it. It replaces a member with the same id, as an admin too.

    ``name`` is None for a member without a name. ``admin`` makes it an admin, or ends that; None changes nothing.
    """
    before = manifest.members.get(member.id)
    admins = {member.signing if before and each == before.signing else each for each in manifest.admins}
    if admin is not None:
        admins = admins | {member.signing} if admin else admins - {member.signing}
    return next_version(
        manifest,
        by=by,
        time=time,
        admins=admins,
        members={**manifest.members, member.id: member}.values(),
        names={**manifest.names, **({member.id: name} if name else {})},
    )


def with_revoked(manifest: Manifest, member: Member, *, by: bytes, time: float) -> UnsignedVersion:
    """The next version, without the member. Its keys never count again."""
    return without_member(manifest, member.id, by=by, time=time, revoked={member.id, member.signing})


def without_member(
    manifest: Manifest, member_id: bytes, *, by: bytes, time: float, revoked: Iterable[bytes] = ()
) -> UnsignedVersion:
    """The next version, without the member. It is no admin any more either: an admin has to be able to read names.

    ``revoked`` are more keys that never count again.
    """
    admins = [admin for admin in manifest.admins if admin not in (member_id, manifest.members[member_id].signing)]
    return next_version(
        manifest,
        by=by,
        time=time,
        admins=admins,
        members=[member for member in manifest.members.values() if member.id != member_id],
        names={id: name for id, name in manifest.names.items() if id != member_id},
        revoked={*manifest.revoked, *revoked},
    )

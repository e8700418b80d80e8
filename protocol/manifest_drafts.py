"""Drafts of new manifest versions, for whoever is to sign them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from protocol.blocks import Block
from protocol.manifest import Manifest, Settings
from protocol.records import Federation, FederationPrivate, Member
from protocol.signed import private_bytes
from protocol.trees import pack
from protocol.typed import to_plain


@dataclass(frozen=True, slots=True)
class Draft:
    """A version to be signed (`protocol.signed.sign_record`) and the ``blocks`` to store with it.

    It is not judged yet: `protocol.manifest.first_manifest` and `next_manifest` do that to the signed record.
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
) -> Draft:
    """Version 1. ``admins`` are signing keys; ``by`` is one of them; ``names`` is by member id."""
    private = FederationPrivate(
        name=name, names=tuple(sorted(names.items())), settings=(settings or Settings()).pairs()
    )
    listing, blocks = pack(to_plain(sorted(members, key=lambda member: member.id)))
    body = Federation(
        by=by,
        time=time,
        private=private_bytes(private),
        version=1,
        prev=None,
        admins=tuple(sorted(set(admins))),
        threshold=threshold,
        members=listing,
    )
    return Draft(body, tuple(blocks))


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
) -> Draft:
    """The version after ``manifest``; what is not given stays as it is there."""
    draft = new_federation(
        name=manifest.name,
        admins=manifest.admins if admins is None else admins,
        members=manifest.members.values() if members is None else members,
        names=manifest.names if names is None else names,
        by=by,
        time=time,
        threshold=manifest.threshold if threshold is None else threshold,
        settings=settings or manifest.settings,
    )
    return Draft(replace(draft.body, version=manifest.version + 1, prev=manifest.cid), draft.blocks)


def with_member(manifest: Manifest, member: Member, name: str, *, by: bytes, time: float) -> Draft:
    """The next version, in which ``member`` is listed; it takes the place of one with the same id."""
    members = {**manifest.members, member.id: member}
    names = {**manifest.names, member.id: name}
    return next_version(manifest, by=by, time=time, members=members.values(), names=names)


def without_member(manifest: Manifest, member_id: bytes, *, by: bytes, time: float) -> Draft:
    """The next version, in which the member is not listed."""
    members = [member for member in manifest.members.values() if member.id != member_id]
    names = {key: name for key, name in manifest.names.items() if key != member_id}
    return next_version(manifest, by=by, time=time, members=members, names=names)

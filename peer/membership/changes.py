"""Changing who is in a federation, and finding members. Each change is one more signed version of the manifest."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from shlex import quote
from types import MappingProxyType

from crypto.identity import ANY_FEDERATION, Identity, PublicIdentity
from crypto.keys import VerifyKey
from crypto.symmetric import SymmetricKey
from peer.base.errors import ExitCode, PeerError
from peer.home.federations import StoredFederation
from protocol.blocks.cid import CID, Block, MemoryBlocks
from protocol.federation.manifest import Manifest, ManifestError, ManifestRule, Settings, manifest_at
from protocol.federation.proposals import Proposal, read_proposal
from protocol.federation.readers import Reader
from protocol.federation.shreddings import with_shredded
from protocol.federation.unsigned_versions import (
    UnsignedVersion,
    new_federation,
    next_version,
    with_member,
    with_revoked,
    without_member,
)
from protocol.federation.voters import may_vote
from protocol.labels import DID_LABEL
from protocol.records.bodies import (
    MAX_ADDRESSES,
    MAX_NAMED_RUNS,
    MAX_NAMED_VOTERS,
    MAX_SHREDDED,
    MAX_SHREDDED_REASON,
    EncryptionKeyText,
    Handover,
    Member,
    Role,
    Voting,
)
from protocol.records.signed_records import parse_record, sign_record


class OthersMustSign(PeerError):
    """This admin has signed a change, but it is not in force: more admins have to sign."""

    def __init__(self, proposal: Proposal, blocks: Mapping[CID, bytes]) -> None:
        super().__init__(
            f"{proposal.lacking} more of the admins of {proposal.base.title} must sign that",
            fix="propose it to them: peer federation does so by itself",
            code=ExitCode.UNFINISHED,
        )
        self.proposal = proposal
        self.blocks = blocks
        """The record and its listings."""


def found_federation(
    founder: Identity,
    *,
    name: str,
    member_name: str,
    roles: Iterable[Role],
    swarm_key: bytes,
    time: float,
    encrypt: bool = False,
) -> StoredFederation:
    """A new federation: version 1, signed by its founder, who is its admin and only member.

    With ``encrypt``, only members read names, settings and what is trained. It can never be turned off.

    Raises:
        PeerError: if it breaks a rule, for example by an impossible name.
    """
    by = founder.signing.verify_key.raw
    unsigned = new_federation(
        name=name,
        admins=[by],
        members=[_newcomer(founder.public_for(by), tuple(dict.fromkeys(roles)))],
        names={founder.id: member_name},
        by=by,
        time=time,
        key=SymmetricKey.generate() if encrypt else None,
    )
    record = sign_record(unsigned.body, [founder.signing])
    blocks, reader = _blocks(record, unsigned.blocks), _reader(founder)
    try:
        manifest = manifest_at(record.cid, record.cid, MemoryBlocks(blocks), reader=reader)
    except ManifestError as error:
        raise _refused(error) from error
    return StoredFederation(manifest, MappingProxyType(blocks), swarm_key, (), reader.manifest_keys)


def add_member(
    stored: StoredFederation,
    admin: Identity,
    public: PublicIdentity,
    *,
    name: str | None = None,
    roles: Iterable[Role] = (),
    office: bool | None = None,
    time: float,
) -> StoredFederation:
    """The federation with one more member, or with another name, other roles or newer keys of a member.

    A member's ``name``, ``roles`` and ``office`` (whether it is an admin) stay as they are if they are not given.

    Raises:
        PeerError: if ``admin`` is not one, if the name is taken or impossible, or if a newcomer has no name or role.
    """
    by = _admin_key(stored.manifest, admin)
    before = stored.manifest.members.get(public.id)
    if public.federation not in (bytes(stored.id), ANY_FEDERATION) and not _has(before, public):
        raise PeerError(
            f"that KEY is for another federation than {stored.manifest.title}: its owner has not agreed to this one",
            fix=f"ask for what this prints on the member's machine: peer keys show --federation {stored.id}",
        )
    chosen = tuple(dict.fromkeys(roles)) or (before.roles if before else ())
    called = name or stored.manifest.names.get(public.id)
    if before is None and not (chosen and called):
        raise PeerError(
            f"nobody in the federation {stored.manifest.title} has that KEY yet, so it needs a name and a role",
            fix="peer federation add KEY --name NAME --role client",
        )
    member = _newcomer(public, chosen) if before is None else _changed(before, public, chosen)
    by = member.signing if before is not None and by == before.signing else by
    return _advance(stored, admin, with_member(stored.manifest, member, called, by=by, time=time, admin=office))


def change_admin(
    stored: StoredFederation, admin: Identity, name: str, *, office: bool, time: float
) -> StoredFederation:
    """The federation in which a member is an admin too, or no longer is one. Raises as `remove_member`."""
    by = _admin_key(stored.manifest, admin)
    member = find_member(stored.manifest, name)
    if by == member.signing and not office:
        raise PeerError(
            "an admin cannot resign by itself: nobody might be left to sign that", fix="let another admin do it"
        )
    return _advance(stored, admin, with_member(stored.manifest, member, None, by=by, time=time, admin=office))


def change_threshold(stored: StoredFederation, admin: Identity, count: int, *, time: float) -> StoredFederation:
    """The federation in which ``count`` admins have to sign each change.

    Raises:
        PeerError: if ``admin`` is not one, or there are fewer admins.
    """
    by = _admin_key(stored.manifest, admin)
    if count > len(stored.manifest.admins):
        raise PeerError(
            f"{count} cannot be the number of admins that sign: there are {len(stored.manifest.admins)}",
            fix="name more admins first: peer federation admin NAME",
        )
    return _advance(stored, admin, next_version(stored.manifest, by=by, time=time, threshold=count))


def change_settings(stored: StoredFederation, admin: Identity, settings: Settings, *, time: float) -> StoredFederation:
    """The federation with these ``settings``.

    Raises:
        PeerError: if ``admin`` is not one, or nothing would change.
    """
    by = _admin_key(stored.manifest, admin)
    if settings == stored.manifest.settings:
        raise PeerError("that would change nothing: the manifest says so already", fix="peer federation show")
    return _advance(stored, admin, next_version(stored.manifest, by=by, time=time, settings=settings))


def change_addresses(
    stored: StoredFederation, admin: Identity, *, add: Iterable[str] = (), remove: Iterable[str] = (), time: float
) -> StoredFederation:
    """The federation in whose manifest more, or fewer, addresses of members' nodes are.

    Raises:
        PeerError: if ``admin`` is not one, if nothing would change, or if there would be too many.
    """
    by, before = _admin_key(stored.manifest, admin), set(stored.manifest.addresses)
    if unknown := sorted(set(remove) - before):
        raise PeerError(
            f"the manifest of {stored.manifest.title} does not have the address {unknown[0]}",
            fix="peer federation bootstrap lists those that it has",
        )
    after = before.difference(remove).union(add)
    if after == before:
        raise PeerError("that would change nothing: the manifest has these addresses already", fix="")
    if len(after) > MAX_ADDRESSES:
        raise PeerError(
            f"that would be {len(after)} addresses, and a manifest has {MAX_ADDRESSES} at most",
            fix="take out those that nobody uses any more: peer federation bootstrap --remove ADDRESS",
        )
    return _advance(stored, admin, next_version(stored.manifest, by=by, time=time, addresses=after))


def change_keys(
    stored: StoredFederation, admin: Identity, newer: Iterable[PublicIdentity], *, time: float
) -> StoredFederation:
    """The federation in which members have newer keys, all in one version.

    Raises:
        PeerError: if ``admin`` is not one, or keys are not newer ones of a member.
    """
    by, members, admins = _admin_key(stored.manifest, admin), dict(stored.manifest.members), set(stored.manifest.admins)
    for public in newer:
        before = members[public.id]
        after = members[public.id] = _changed(before, public, before.roles)
        admins = {after.signing if each == before.signing else each for each in admins}
        by = after.signing if by == before.signing else by
    unsigned = next_version(stored.manifest, by=by, time=time, admins=admins, members=members.values())
    return _advance(stored, admin, unsigned)


def change_shredded(
    stored: StoredFederation, admin: Identity, runs: Iterable[CID], *, epoch: int, reason: str, time: float
) -> StoredFederation:
    """The federation in which every member is to destroy the keys of these ``runs``, from ``epoch`` on.

    Raises:
        PeerError: if ``admin`` is not one, if the federation does not encrypt, or if nothing would change.
    """
    by, manifest = _admin_key(stored.manifest, admin), stored.manifest
    if not manifest.encrypted:
        raise PeerError(
            f"the federation {manifest.title} does not encrypt, so there are no keys to destroy",
            fix="its runs are plain files in the members' engines, and have to be deleted there",
        )
    if len(reason) > MAX_SHREDDED_REASON or not reason.isprintable():
        raise PeerError(
            f"the reason has more than {MAX_SHREDDED_REASON} characters, or some that cannot be shown",
            fix="say it shorter, in one line: --reason TEXT",
        )
    before = with_shredded(manifest.shredded, (), epoch=1, reason="")
    after = with_shredded(manifest.shredded, runs, epoch=epoch, reason=reason)
    if after == before:
        raise PeerError(
            "that would change nothing: the manifest orders it already",
            fix="who has done it, and who has not: peer federation shred --status",
        )
    if len(after) > MAX_SHREDDED:
        raise PeerError(
            f"that would be {len(after)} shredded runs, and a manifest has {MAX_SHREDDED} at most",
            fix="found another federation for what comes: peer federation init NAME",
        )
    return _advance(stored, admin, next_version(manifest, by=by, time=time, shredded=after))


def change_voting(stored: StoredFederation, admin: Identity, voting: Voting, *, time: float) -> StoredFederation:
    """The federation in which these members vote for the leader of each run whose voters are not named.

    Raises:
        PeerError: if ``admin`` is not one, or nothing would change.
    """
    by, manifest = _admin_key(stored.manifest, admin), stored.manifest
    if voting is manifest.voting:
        raise PeerError("that would change nothing: they vote already", fix="peer federation show says who votes")
    return _advance(stored, admin, next_version(manifest, by=by, time=time, voting=voting))


def name_voters(
    stored: StoredFederation, admin: Identity, run: CID, names: Iterable[str], *, time: float
) -> StoredFederation:
    """The federation in which these members alone vote for the leader of ``run``.

    Raises:
        PeerError: if ``admin`` is not one, if a name is nobody's or that of a member that cannot vote, if they are too
            many, or if nothing would change.
    """
    by, manifest = _admin_key(stored.manifest, admin), stored.manifest
    members = [find_member(manifest, name) for name in names]
    for member in members:
        if not may_vote(member):
            raise PeerError(
                f"{manifest.called(member.id)} is {', '.join(member.roles)}: only servers and clients vote",
                fix="peer federation show lists the members",
            )
    named = tuple(sorted({member.id for member in members}))
    if named == manifest.voters.get(run):
        raise PeerError("that would change nothing: they are the voters already", fix="")
    after = {**manifest.voters, run: named}
    if len(named) > MAX_NAMED_VOTERS or len(after) > MAX_NAMED_RUNS:
        raise PeerError(
            f"a manifest names at most {MAX_NAMED_VOTERS} voters of a run, for at most {MAX_NAMED_RUNS} runs",
            fix="take back those of a run that is closed: peer federation voters RUN --remove",
        )
    return _advance(stored, admin, next_version(manifest, by=by, time=time, voters=after))


def take_back_voters(stored: StoredFederation, admin: Identity, run: CID, *, time: float) -> StoredFederation:
    """The federation in which nobody is named as a voter of ``run``.

    Raises:
        PeerError: if ``admin`` is not one, or nobody is named.
    """
    by, manifest = _admin_key(stored.manifest, admin), stored.manifest
    if run not in manifest.voters:
        raise PeerError(f"nobody is named as a voter of the run {run}", fix="peer federation show says who votes")
    after = {each: voters for each, voters in manifest.voters.items() if each != run}
    return _advance(stored, admin, next_version(manifest, by=by, time=time, voters=after))


def may_rotate_in(manifest: Manifest, owner: Identity) -> bool:
    """Whether ``owner`` is an admin with newer keys than the manifest lists, so that it may put them there."""
    newest = owner.signing.verify_key.raw
    member = manifest.members.get(owner.id)
    held = _held(manifest, owner)
    return held is not None and manifest.readable and newest not in (held, member.signing if member else held)


def rotate_in(stored: StoredFederation, owner: Identity, *, time: float) -> StoredFederation:
    """The federation with the newest keys of ``owner``, as an admin and, if it is one, as a member.

    Raises:
        PeerError: if `may_rotate_in` says no.
        OthersMustSign: if more admins have to sign.
    """
    by, newest = _admin_key(stored.manifest, owner), owner.signing.verify_key.raw
    if owner.id in stored.manifest.members:
        return add_member(stored, owner, owner.public_for(bytes(stored.id)), time=time)
    admins = [newest if admin == by else admin for admin in stored.manifest.admins]
    return _advance(stored, owner, next_version(stored.manifest, admins=admins, by=newest, time=time))


def remove_member(stored: StoredFederation, admin: Identity, name: str, *, time: float) -> StoredFederation:
    """The federation without a member, whose ``name`` is as `find_member` takes it.

    Raises:
        PeerError: if ``admin`` is not one, or nobody has that name.
    """
    by = _admin_key(stored.manifest, admin)
    member = find_member(stored.manifest, name)
    if by == member.signing:
        raise PeerError(
            "an admin cannot remove itself: nobody might be left to sign that",
            fix="let another admin do it: peer federation remove NAME",
        )
    return _advance(stored, admin, without_member(stored.manifest, member.id, by=by, time=time))


def revoke_member(stored: StoredFederation, admin: Identity, name: str, *, time: float) -> StoredFederation:
    """The federation without a member, whose keys never count again.

    Raises:
        PeerError: if ``admin`` is not one, if nobody has that name, or if it is the admin's own.
    """
    by = _admin_key(stored.manifest, admin)
    member = find_member(stored.manifest, name)
    if by in (member.id, member.signing):
        raise PeerError(
            "an admin cannot revoke its own key: nobody might be left to sign that",
            fix="let another admin do it; for a new key of your own: peer keys rotate",
        )
    return _advance(stored, admin, with_revoked(stored.manifest, member, by=by, time=time))


def find_member(manifest: Manifest, name: str) -> Member:
    """The member with this ``did:key``, or its first characters as `protocol.labels` shows them; with this hexadecimal
    id; or with this name. A name counts last: it may look like another's key.

    Raises:
        PeerError: if there is none.
    """
    for member in manifest.members.values():
        if name in (VerifyKey(member.id).did, member.id.hex()):
            return member
    begun = [each for each in manifest.members.values() if VerifyKey(each.id).did.startswith(name)]
    if len(name) >= DID_LABEL and len(begun) == 1:
        return begun[0]
    for member in manifest.members.values():
        if name == manifest.name_of(member.id):
            return member
    raise PeerError(
        f"nobody in the federation {manifest.title} is called {name!r}", fix="peer federation show lists the members"
    )


def is_admin(manifest: Manifest, public: PublicIdentity) -> bool:
    """Whether one of the identity's signing keys, the newest or an earlier one, is an admin's."""
    earlier = public.handovers.old if public.handovers else ()
    return not {public.signing.raw, *(key for key, _ in earlier)}.isdisjoint(manifest.admins)


def can_change_alone(manifest: Manifest, identity: Identity) -> bool:
    """Whether this identity can make the next version without anybody else's signature."""
    return manifest.readable and manifest.threshold == 1 and _held(manifest, identity) is not None


def require_role(manifest: Manifest, public: PublicIdentity, role: Role) -> None:
    """Check that the identity is a member with that role, and that its keys are not older than the manifest's.

    Raises:
        PeerError: if not. It says what an admin has to do.
    """
    member_id = public.id
    member = manifest.members.get(member_id)
    if member is None:
        raise PeerError(
            f"this identity is not in the federation {manifest.title} (manifest version {manifest.version})",
            fix=f"send what `peer keys show --federation {manifest.federation}` prints to an admin, who runs: "
            f"peer federation add KEY --name NAME --role {role}; then join again with a new export",
        )
    if role not in member.roles:
        has = ", ".join(member.roles)
        raise PeerError(
            f"{manifest.called(member_id)} is {has} in the federation {manifest.title}, not {role}",
            fix=f"start it with --role {member.roles[0]}, or ask an admin to run: "
            f"peer federation add KEY --name {quote(manifest.name_of(member_id))} --role {role}; then join again",
        )
    if not (member.signing == public.signing.raw or (public.handovers and public.handovers.by(member.signing))):
        raise PeerError(
            f"the keys of {manifest.called(member_id)} were rotated, and this home has older ones",
            fix="restore a backup that was made after that: peer keys restore FILE",
        )


def _has(member: Member | None, public: PublicIdentity) -> bool:
    """Whether the member is listed with these keys already, so that nothing needs to be proved about them."""
    return member is not None and member.signing == public.signing.raw


def _newcomer(public: PublicIdentity, roles: tuple[Role, ...]) -> Member:
    handovers = public.handovers
    if handovers is None:
        return Member(id=public.id, signing=public.id, encryption=_encryption(public), roles=roles, proof=public.proof)
    _, by_first = handovers.old[0]
    return _handed_over(public, roles, by_first, handovers.new)


def _changed(before: Member, public: PublicIdentity, roles: tuple[Role, ...]) -> Member:
    """The member with these roles, and with the keys of ``public`` if those are newer."""
    if before.signing == public.signing.raw:
        return replace(before, roles=roles)
    handovers = public.handovers
    old = handovers.by(before.signing) if handovers else None
    if handovers is None or old is None:
        raise PeerError(
            "that KEY is older than the one that the federation lists for this member",
            fix="ask for what `peer keys show --federation ID` prints on the member's machine now",
        )
    return _handed_over(public, roles, old, handovers.new)


def _handed_over(public: PublicIdentity, roles: tuple[Role, ...], old: bytes, new: bytes) -> Member:
    return Member(
        id=public.id,
        signing=public.signing.raw,
        encryption=_encryption(public),
        roles=roles,
        handover=Handover(old=old, new=new),
    )


def _encryption(public: PublicIdentity) -> EncryptionKeyText:
    return EncryptionKeyText(suite=public.encryption.suite.value, key=public.encryption.raw)


def _held(manifest: Manifest, identity: Identity) -> bytes | None:
    """The key, newest or earlier, by which ``identity`` is an admin in this version; None if it is not one."""
    keys = (key.verify_key.raw for key in identity.signing_keys)
    return next((key for key in keys if key in manifest.admins), None)


def _admin_key(manifest: Manifest, identity: Identity) -> bytes:
    held = _held(manifest, identity)
    if held is None:
        raise PeerError(
            f"{identity.name} is no admin of the federation {manifest.title}",
            fix="run it where the federation was founded, or name that identity with --identity NAME",
        )
    if not manifest.readable:
        raise PeerError(
            f"{identity.name} is an admin of the federation {manifest.title}, but cannot read who is in it",
            fix="let another admin make it a member: peer federation add KEY --name NAME --role auditor",
        )
    return held


def _advance(stored: StoredFederation, admin: Identity, unsigned: UnsignedVersion) -> StoredFederation:
    asked = {*stored.manifest.admins, *unsigned.body.admins}
    record = sign_record(unsigned.body, [key for key in admin.signing_keys if key.verify_key.raw in asked])
    blocks, reader = _blocks(record, unsigned.blocks), _reader(admin).remembering(stored.manifest_keys)
    try:
        proposal = read_proposal(parse_record(record), stored.manifest, MemoryBlocks(blocks, stored.blocks), reader)
        if not proposal.is_complete:
            raise OthersMustSign(proposal, blocks)
        return stored.advanced(record.cid, blocks, reader)
    except ManifestError as error:
        raise _refused(error) from error


def _reader(identity: Identity) -> Reader:
    return Reader(identity.id, identity.decryption_keys)


def _blocks(record: Block, listings: Iterable[Block]) -> dict[CID, bytes]:
    return {block.cid: block.data for block in (record, *listings)}


def _refused(error: ManifestError) -> PeerError:
    why = f"that cannot be the next manifest: {error}"
    match error.rule:
        case ManifestRule.NAMES:
            fix = "choose a name of 1 to 64 printable characters that nobody in the federation has"
        case ManifestRule.ADDRESSES:
            fix = "name addresses that other machines can reach, with the node's name: /dns4/HOST/tcp/PORT/p2p/PEERID"
        case ManifestRule.OLD_SIGNERS | ManifestRule.AUTHOR | ManifestRule.SIGNERS:
            fix = "only an admin may do that: use the identity that founded the federation, with --identity NAME"
        case ManifestRule.REVOKED:
            why = "a key of that member was revoked in this federation, which is for good"
            fix = "make a new identity on the member's machine: peer keys init"
        case _:
            fix = ""
    return PeerError(why, fix=fix)

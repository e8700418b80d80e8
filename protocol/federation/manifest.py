"""The manifest: who is in a federation, and how one version follows from another.

The rule of succession is that of python-tuf for its root metadata (tuf/ngclient/_internal/trusted_metadata_set.py,
``update_root``): version + 1, signed by enough admins of the version before *and* of its own. Unlike in TUF, a version
also links the one before it, and every signature has to be right, not just enough of them.

`protocol.federation.unsigned_versions` writes new versions.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from types import MappingProxyType
from typing import Final

from crypto.dsse import BadSignature
from crypto.keys import VerifyKey
from crypto.symmetric import SymmetricKey
from protocol.blocks.cid import CID, BlockError, BlockSource
from protocol.federation.manifest_rules import (
    ManifestError as ManifestError,  # exported here too, beside the functions that raise it
)
from protocol.federation.manifest_rules import ManifestRule as ManifestRule
from protocol.federation.member_rules import check_key, read_members, read_revoked
from protocol.federation.quorum import check_quorum
from protocol.federation.readers import Reader, read_manifest_private
from protocol.federation.shreddings import Shredding, read_shreddings
from protocol.records.bodies import (
    Federation,
    FederationPrivate,
    FederationPrivates,
    Member,
    Role,
    ShreddingFederationPrivate,
    Voting,
    Wrap,
)
from protocol.records.signed_records import Record, checked_record, typed_items
from protocol.visible import named
from protocol.wire.node_address import BadAddress, NodeAddress, Scope

PUBLIC: Final = Reader()
"""Reads what is plain."""

MAX_VERSIONS: Final = 65_536
MAX_AHEAD: Final = 1_024
"""How many versions after its own a peer reads because a member names them; each takes 0.2 ms. A peer that was away for
longer reads the federation's file."""
MAX_NAME: Final = 64
"""Characters in the name of a member or a federation."""


def node_id(member_id: bytes) -> int:
    """The Flower node id of a member: 63 bits of the SHA-256 of its id."""
    return int.from_bytes(hashlib.sha256(member_id).digest()[:8], "big") & (2**63 - 1)


@dataclass(frozen=True, slots=True)
class Settings:
    """Limits that hold in the whole federation."""

    max_app_bytes: int = 64 << 20
    """An app bundle, unpacked."""
    max_content_bytes: int = 16 << 30
    """A content, all its chunks together."""
    max_reason_chars: int = 2_000
    """Why a reply is an error. The writer cuts a longer reason, and readers refuse it."""
    witnesses: int = 0
    """How many servers besides the leader have to have recomputed what clients train on
    (`protocol.witnesses.needed`)."""

    @classmethod
    def parse(cls, pairs: Iterable[tuple[str, int]]) -> Settings:
        """The settings in a manifest; the others have their defaults.

        Raises:
            ManifestError: if a setting is unknown (it may be a limit that others keep), not positive, or out of order.
        """
        given = tuple(pairs)
        names = [name for name, _ in given]
        known = {setting.name for setting in fields(cls)}
        if names != sorted(set(names)) or not known.issuperset(names) or any(value < 1 for _, value in given):
            raise ManifestError(ManifestRule.SETTINGS, f"not settings of this version in order: {given!r:.200}")
        return cls(**dict(given))

    def pairs(self) -> tuple[tuple[str, int], ...]:
        """As a manifest carries them: those that differ from the default, by name."""
        values = ((setting.name, getattr(self, setting.name), setting.default) for setting in fields(self))
        return tuple(sorted((name, value) for name, value, default in values if value != default))


@dataclass(frozen=True, slots=True)
class Manifest:
    """A trusted version of a federation's manifest. `first_manifest`, `next_manifest` and `manifest_at` build it."""

    cid: CID
    """The CID of the `Federation` record's block, as it is known here."""
    id: CID
    """The CID of the record's body: the same whichever admins signed the block."""
    federation: CID
    """The federation's id: the CID of version 1's block."""
    version: int
    admins: tuple[bytes, ...]
    """Signing keys."""
    threshold: int
    members: Mapping[bytes, Member]
    """By id, in rising order."""
    name: str
    """If this reader cannot read the private part, it, ``names`` and ``addresses`` are empty and ``settings`` the
    defaults."""
    names: Mapping[bytes, str]
    settings: Settings
    addresses: tuple[str, ...]
    """Where members' nodes are reached, for whoever has lost all others: multiaddrs in rising order."""
    shredded: tuple[Shredding, ...]
    """The runs whose keys every member is to destroy, in rising order of run. Of a version that this reader cannot
    read, those of the newest version before it that it could."""
    voting: Voting
    """Which members vote for the leader of a run whose voters are not named (`protocol.federation.voters`)."""
    voters: Mapping[CID, tuple[bytes, ...]]
    """The runs whose voters an admin has named: member ids, in rising order. Some may have left since."""
    revoked: tuple[bytes, ...]
    """Signing keys that never count again, in rising order."""
    revoked_encryption: frozenset[bytes] = field(repr=False, compare=False)
    """The last encryption keys of the owners of revoked keys: nobody is listed with one again."""
    key: SymmetricKey | None = field(repr=False, compare=False)
    """The manifest key; None if the federation does not encrypt, or this reader does not have the key."""
    key_epoch: int | None
    """The version that brought the manifest key; None if the federation does not encrypt."""
    key_commitment: bytes
    """Empty if the federation does not encrypt."""
    misled: bool = field(compare=False)
    """Whether this reader lacks the manifest key because a false one is wrapped for it, which nobody else can see.
    What is plain holds all the same, and the next version wraps anew."""
    _signed_by_before: tuple[tuple[bytes, ...], int] = field(repr=False, compare=False)
    """The admins of the version before, and how many of them had to sign; no admins for version 1."""
    _keys: Mapping[bytes, Member] = field(repr=False, compare=False)
    _nodes: Mapping[int, Member] = field(repr=False, compare=False)
    _ids: Mapping[Role, frozenset[bytes]] = field(repr=False, compare=False)
    _nodes_by_role: Mapping[Role, tuple[int, ...]] = field(repr=False, compare=False)

    @property
    def encrypted(self) -> bool:
        """Whether the federation encrypts."""
        return self.key_epoch is not None

    @property
    def readable(self) -> bool:
        """Whether this reader can read names and settings."""
        return self.key is not None or not self.encrypted

    def member_by_key(self, key: bytes) -> Member | None:
        """The member whose signing key is ``key`` in this version."""
        return self._keys.get(key)

    def member_by_node(self, node: int) -> Member | None:
        """The member with this Flower node id."""
        return self._nodes.get(node)

    def nodes_of(self, role: Role) -> tuple[int, ...]:
        """The node ids of the members with ``role``, in rising order."""
        return self._nodes_by_role[role]

    def ids_of(self, role: Role) -> frozenset[bytes]:
        """The ids of the members with ``role``."""
        return self._ids[role]

    @property
    def title(self) -> str:
        """The federation's name as it stands in a sentence, or its id if the name is not readable here."""
        return named(self.name) if self.name else str(self.federation)

    def name_of(self, member_id: bytes) -> str:
        """What people see: the member's name, or its ``did:key``."""
        return self.names.get(member_id) or VerifyKey(member_id).did  # not parsed: a stranger's may be no key

    def name_of_key(self, key: bytes) -> str:
        """`name_of` the member that has this signing key: an admin is listed by its key."""
        member = self.member_by_key(key)
        return self.name_of(key if member is None else member.id)

    def called(self, member_id: bytes) -> str:
        """`name_of` as it stands in a sentence: quoted if need be, since an admin chose it."""
        return named(self.name_of(member_id))


def why_left_out(before: Manifest, after: Manifest, member_id: bytes, role: Role) -> str:
    """Why a member cannot go on in ``role`` once ``after`` has replaced ``before``; empty if it can."""
    was, now = before.members.get(member_id), after.members.get(member_id)
    name, title = before.called(member_id), before.title
    if now is not None:
        has = ", ".join(now.roles)
        return (
            ""
            if role in now.roles
            else f"{name} is {has} in {title} since manifest version {after.version}, not {role}"
        )
    revoked = was is not None and not {was.id, was.signing}.isdisjoint(after.revoked)
    also = ", which revokes its keys" if revoked else ""
    return f"{name} was removed from the federation {title} by manifest version {after.version}{also}"


def why_unreadable(manifest: Manifest) -> str:
    """Why a member cannot read a manifest that encrypts."""
    if not manifest.misled:
        return "the newest manifest is sealed to a key of ours that is not in this home"
    return (
        f"manifest version {manifest.version} wraps another key for us than for all others: tell an admin who did not "
        "sign it; any version after it wraps anew"
    )


def first_manifest(record: Record, source: BlockSource, reader: Reader = PUBLIC) -> Manifest:
    """Version 1. It is trusted because its CID is the federation's id and exactly its admins signed it. If fewer
    signatures were enough, dropping one would give another federation with the same admins, members and wraps.

    ``reader`` opens its private part if it can.

    Raises:
        ManifestError: if it breaks a rule.
        protocol.blocks.cid.MissingBlock: if ``source`` lacks a part of it.
    """
    body = _federation(record)
    if body.version != 1 or body.prev is not None:
        raise ManifestError(ManifestRule.SUCCESSION, f"version {body.version} with prev {body.prev} is not the first")
    if _right_signers(record, body, ()) != frozenset(body.admins):
        raise ManifestError(
            ManifestRule.SIGNERS, "version 1, whose block is the federation, is not signed by exactly its admins"
        )
    return _parse(record, body, record.cid, None, source, reader)


def next_manifest(current: Manifest, record: Record, source: BlockSource, reader: Reader = PUBLIC) -> Manifest:
    """The version after ``current``. Raises as `first_manifest`."""
    body, signers = _successor(current, record)
    check_quorum(ManifestRule.SIGNERS, signers, body.admins, body.threshold)
    check_quorum(ManifestRule.OLD_SIGNERS, signers, current.admins, current.threshold)
    return _parse(record, body, current.federation, current, source, reader)


def proposed_manifest(current: Manifest, record: Record, source: BlockSource, reader: Reader = PUBLIC) -> Manifest:
    """What `next_manifest` returns once enough admins have signed. Here one signature by an admin of ``current`` is
    enough. It is for admins who think of signing, and nobody may trust it. Raises as `first_manifest`.
    """
    body, signers = _successor(current, record)
    check_quorum(ManifestRule.OLD_SIGNERS, signers, current.admins, 1)
    return _parse(record, body, current.federation, current, source, reader)


def _successor(current: Manifest, record: Record) -> tuple[Federation, frozenset[bytes]]:
    """The body of a version that would follow ``current``, and its signers, who may be too few."""
    body = _federation(record)
    if body.version != current.version + 1 or body.prev != current.cid:
        raise ManifestError(
            ManifestRule.SUCCESSION,
            f"version {body.version} with prev {body.prev} does not follow version {current.version}, {current.cid}",
        )
    return body, _right_signers(record, body, current.admins)


def manifest_at(
    cid: CID,
    federation: CID,
    source: BlockSource,
    known: Manifest | None = None,
    reader: Reader = PUBLIC,
    most: int | None = None,
) -> Manifest:
    """The manifest in block ``cid``. Its chain is checked from ``known`` on, or from version 1 if that is None.

    ``reader`` opens private parts if it can. A version is known by its body: another block of it is as good, if enough
    admins signed that one. Only version 1 has one block, the federation's id. At most ``most`` versions are read,
    whatever numbers they claim (None: `MAX_VERSIONS`).

    Memory grows by one CID for each version.

    Raises:
        ManifestError: if a version breaks a rule, or the chain does not lead to ``known`` or to ``federation``.
        protocol.blocks.cid.BlockError: if a block is malformed; MissingBlock if ``source`` lacks one.
    """
    if known is not None and known.federation != federation:
        raise ManifestError(ManifestRule.FEDERATION, f"{known.cid} is of another federation than {federation}")
    base = known.version if known else 0
    most = MAX_VERSIONS if most is None else most
    later: list[CID] = []
    link: CID | None = cid
    while link is not None and (known is None or link != known.cid):
        record = checked_record(link, source)
        body = _federation(record)
        if known is not None and record.id == known.id and known.version > 1:
            known = _in_another_block(known, record, body)
            break
        if body.version <= base or len(later) == most:
            raise ManifestError(ManifestRule.FEDERATION, f"{cid} does not follow from {known.cid if known else base}")
        later.append(link)
        link = body.prev
    reached = later[-1] == federation if known is None else link is not None
    if not reached:
        raise ManifestError(ManifestRule.FEDERATION, f"{cid} does not belong to federation {federation}")
    manifest = known
    for link in reversed(later):
        record = checked_record(link, source)
        manifest = (
            next_manifest(manifest, record, source, reader) if manifest else first_manifest(record, source, reader)
        )
    assert manifest is not None  # either known, or ``later`` holds version 1
    return manifest


def _in_another_block(known: Manifest, record: Record, body: Federation) -> Manifest:
    """The known version in a block with other signatures. They are judged as if no version were known."""
    signers = _right_signers(record, body, known._signed_by_before[0])
    check_quorum(ManifestRule.SIGNERS, signers, body.admins, body.threshold)
    check_quorum(ManifestRule.OLD_SIGNERS, signers, *known._signed_by_before)
    return replace(known, cid=record.cid)


def federation_of(cid: CID, source: BlockSource) -> CID:
    """The first version that the manifest in block ``cid`` leads to, unverified.

    Raises:
        ManifestError: if a version is no manifest.
        protocol.blocks.cid.BlockError: as `manifest_at`.
    """
    for _ in range(MAX_VERSIONS):
        body = _federation(checked_record(cid, source))
        if body.prev is None:
            return cid
        cid = body.prev
    raise ManifestError(ManifestRule.FEDERATION, f"it has more than {MAX_VERSIONS} versions")


def _federation(record: Record) -> Federation:
    if not isinstance(record.body, Federation):
        raise ManifestError(ManifestRule.TYPE, f"{record.cid} is a {record.body.TYPE} record")
    return record.body


def _right_signers(record: Record, body: Federation, before: Iterable[bytes]) -> frozenset[bytes]:
    """The signers of a version, all of them its own admins or those ``before``. Verifying any other signature would be
    wasted work for every reader."""
    if not body.admins or list(body.admins) != sorted(set(body.admins)):
        raise ManifestError(ManifestRule.ADMINS, "the admins are not in rising order, each once")
    for key in body.admins:
        check_key(ManifestRule.ADMINS, key)
    if body.threshold > len(body.admins):
        raise ManifestError(
            ManifestRule.THRESHOLD, f"{body.threshold} signatures of {len(body.admins)} admins cannot be"
        )
    if body.by not in body.admins:
        raise ManifestError(ManifestRule.AUTHOR, f"{body.by.hex()} is no admin")
    signers = frozenset(record.signers)
    if strangers := signers.difference(body.admins, before):
        raise ManifestError(ManifestRule.SIGNATURE, f"{min(strangers).hex()} signed it, and is no admin")
    try:
        record.check_signatures()
    except BadSignature as error:
        raise ManifestError(ManifestRule.SIGNATURE, str(error)) from error
    return signers


def _parse(
    record: Record, body: Federation, federation: CID, before: Manifest | None, source: BlockSource, reader: Reader
) -> Manifest:
    listed_in = bytes(federation) if before else body.by
    members = read_members(body, before.members if before else {}, listed_in, source)
    revoked = read_revoked(body, before.revoked if before else (), members, source)
    unread = _revoked_encryption(before, revoked)
    if any(member.encryption.key in unread for member in members.values()):
        raise ManifestError(ManifestRule.REVOKED, "a member has the encryption key of one whose keys were revoked")
    nodes = {node_id(member.id): member for member in members.values()}
    if len(nodes) != len(members):
        raise ManifestError(ManifestRule.NODES, "two members have one node id")
    _check_key_readers(body, members, before, source)
    voting, voters = _voters(body)
    listed = members.get(reader.member)
    key = reader.manifest_key(body, listed, source)
    try:
        private = read_manifest_private(body, key)
    except BlockError as error:
        raise ManifestError(ManifestRule.PRIVATE, str(error)) from error
    name, names, settings, addresses = _private(private, members)
    return Manifest(
        cid=record.cid,
        id=record.id,
        federation=federation,
        version=body.version,
        admins=body.admins,
        threshold=body.threshold,
        members=MappingProxyType(members),
        name=name,
        names=MappingProxyType(names),
        settings=settings,
        addresses=addresses,
        shredded=_shredded(private, record, body, before),
        voting=voting,
        voters=MappingProxyType(voters),
        revoked=revoked,
        revoked_encryption=unread,
        key=key,
        key_epoch=body.epoch,
        key_commitment=body.key.commitment if body.key else b"",
        misled=body.key is not None and key is None and reader.holds(listed),
        _signed_by_before=(before.admins, before.threshold) if before else ((), 0),
        _keys=MappingProxyType({member.signing: member for member in members.values()}),
        _nodes=MappingProxyType(nodes),
        _ids={role: frozenset(member.id for member in members.values() if role in member.roles) for role in Role},
        _nodes_by_role={role: tuple(sorted(_nodes_with(role, nodes))) for role in Role},
    )


def _nodes_with(role: Role, nodes: Mapping[int, Member]) -> Iterator[int]:
    return (node for node, member in nodes.items() if role in member.roles)


def _revoked_encryption(before: Manifest | None, revoked: tuple[bytes, ...]) -> frozenset[bytes]:
    if before is None:
        return frozenset()
    never_again = frozenset(revoked)
    gone = (member for member in before.members.values() if not never_again.isdisjoint((member.id, member.signing)))
    return before.revoked_encryption.union(member.encryption.key for member in gone)


def _check_key_readers(
    body: Federation, members: Mapping[bytes, Member], before: Manifest | None, source: BlockSource
) -> None:
    if (body.key is None) != (body.epoch is None) or (
        before is not None and before.encrypted != (body.key is not None)
    ):
        raise ManifestError(ManifestRule.ENCRYPTION, "a federation encrypts in all its versions or in none")
    if body.key is None:
        return
    is_new = before is None or body.key.commitment != before.key_commitment
    expected = body.version if is_new or before is None else before.key_epoch
    if body.epoch != expected:
        raise ManifestError(ManifestRule.ENCRYPTION, f"the manifest key is of version {expected}, not {body.epoch}")
    if tuple(wrap.to for wrap in typed_items(body.key.wraps, Wrap, source)) != tuple(members):
        raise ManifestError(ManifestRule.KEY_READERS, "the manifest key is not wrapped for the members in order of id")
    if not is_new and before is not None and any(_left(member, members) for member in before.members.values()):
        raise ManifestError(
            ManifestRule.KEY_READERS, "a member left, or has other keys, and the manifest key is the old one"
        )


def _voters(body: Federation) -> tuple[Voting, dict[CID, tuple[bytes, ...]]]:
    runs = [bytes(each.run) for each in body.voters]
    if runs != sorted(set(runs)):
        raise ManifestError(ManifestRule.VOTERS, "runs whose voters are named are not in rising order, each once")
    for each in body.voters:
        if list(each.voters) != sorted(set(each.voters)):
            raise ManifestError(ManifestRule.VOTERS, f"the voters of {each.run} are not in rising order, each once")
    return body.voting, {each.run: each.voters for each in body.voters}


def _left(member: Member, members: Mapping[bytes, Member]) -> bool:
    now = members.get(member.id)
    return now is None or now.encryption != member.encryption


def _shredded(
    private: FederationPrivates | None, record: Record, body: Federation, before: Manifest | None
) -> tuple[Shredding, ...]:
    known = before.shredded if before else ()
    if private is None:
        return known
    listed = private.shredded if isinstance(private, ShreddingFederationPrivate) else ()
    if listed and body.key is None:
        raise ManifestError(ManifestRule.SHREDDED, "the federation does not encrypt, so it has no keys to destroy")
    return read_shreddings(listed, known, version=body.version, at=body.time, by=record.signers)


def _private(
    private: FederationPrivates | None, members: Mapping[bytes, Member]
) -> tuple[str, dict[bytes, str], Settings, tuple[str, ...]]:
    if private is None:
        return "", {}, Settings(), ()
    ids = [member_id for member_id, _ in private.names]
    if ids != sorted(set(ids)) or not members.keys() >= set(ids):
        raise ManifestError(ManifestRule.NAMES, "names are not in rising order of id, one for a member")
    names = [name for _, name in private.names]
    if len(set(names)) != len(names) or not all(map(is_name, [private.name, *names])):
        raise ManifestError(ManifestRule.NAMES, f"names are printable, up to {MAX_NAME} characters, no two alike")
    addresses = () if isinstance(private, FederationPrivate) else private.addresses
    return private.name, dict(private.names), Settings.parse(private.settings), _checked_addresses(addresses)


def _checked_addresses(addresses: tuple[str, ...]) -> tuple[str, ...]:
    if list(addresses) != sorted(set(addresses)):
        raise ManifestError(ManifestRule.ADDRESSES, "the addresses are not in rising order, each once")
    for text in addresses:
        try:
            address = NodeAddress.parse(text)
        except BadAddress as error:
            raise ManifestError(ManifestRule.ADDRESSES, str(error)) from error
        if address.text != text or not address.node or address.scope <= Scope.LINK:
            why = "is not written in the one way, names no node, or can be reached by nobody else"
            raise ManifestError(ManifestRule.ADDRESSES, f"{text} {why}")
    return addresses


def is_name(text: str) -> bool:
    """Whether ``text`` may name a member or a federation. Terminals show it, so it has no control characters."""
    return 0 < len(text) <= MAX_NAME and text.isprintable() and text == text.strip()

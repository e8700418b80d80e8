"""Proposals: a next version of the manifest that not enough admins have signed yet (docs/protocol.md, section 5).

A proposal is a `Federation` record that is not trusted yet. Its *id* is the CID of its body, which stays the same
however many admins sign. The CID of its block changes with each signature, and that is the CID that admins pass on: so
whoever fetches it gets those signatures. `together` joins signatures that were made side by side.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

from crypto.keys import SigningKey, VerifyKey
from protocol.blocks.cid import CID, Block, BlockSource
from protocol.federation.manifest import PUBLIC, Manifest, proposed_manifest
from protocol.federation.readers import Reader
from protocol.records.bodies import Federation, Voting
from protocol.records.signed_records import Record, RecordError, assemble, parse_record, sign_record
from protocol.visible import named

_VOTING: Final = {Voting.ALL: "servers and clients", Voting.SERVERS: "servers"}
_BY_SETTING: Final = "as in all runs"


class Outdated(Exception):
    """A proposal that does not follow the newest version."""


@dataclass(frozen=True, slots=True)
class Change:
    """One change in a proposal. ``before`` is empty if something is new, ``after`` if it is gone."""

    what: str
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class Proposal:
    """A version that may follow ``base``. All is verified, except that enough admins signed it."""

    record: Record
    base: Manifest
    next: Manifest
    """The manifest that it would make. It keeps the rules; nobody may trust it before `is_complete`."""

    @property
    def id(self) -> CID:
        """The CID of its body: the same however many have signed."""
        return self.record.id

    @property
    def signers(self) -> frozenset[bytes]:
        """The keys that signed it and are an admin's in either version."""
        signed = frozenset(signature.by for signature in self.record.signatures)
        return signed & {*self.base.admins, *self.next.admins}

    @property
    def lacking(self) -> int:
        """How many signatures it still needs at least."""
        return max(
            self.base.threshold - len(self.signers.intersection(self.base.admins)),
            self.next.threshold - len(self.signers.intersection(self.next.admins)),
            0,
        )

    @property
    def is_complete(self) -> bool:
        """Whether enough admins of the old version have signed, and enough of its own."""
        return not self.lacking

    def may_sign(self, key: bytes) -> bool:
        """Whether a signature with ``key`` counts, for the old version or for this one."""
        return key in self.base.admins or key in self.next.admins

    def changes(self) -> tuple[Change, ...]:
        """All changes in it, for admins who think of signing."""
        return tuple(_changes(self.base, self.next))


def read_proposal(record: Record, current: Manifest, source: BlockSource, reader: Reader = PUBLIC) -> Proposal:
    """The proposal in ``record`` to follow ``current``. All is verified, except the number of signatures.

    Raises:
        Outdated: if it follows another version.
        protocol.federation.manifest.ManifestError: if it breaks a rule, or no admin of ``current`` signed it.
        protocol.blocks.cid.MissingBlock: if ``source`` lacks a part of it.
    """
    body = record.body
    if isinstance(body, Federation) and body.prev != current.cid and body.version <= current.version + 1:
        raise Outdated(f"it would be version {body.version}, after another version than the newest, {current.version}")
    return Proposal(record, current, proposed_manifest(current, record, source, reader))


def countersigned(record: Record, keys: Sequence[SigningKey]) -> Block:
    """The record's block with a signature by each of ``keys`` added."""
    return together(record, parse_record(sign_record(record.body, keys)))


def together(one: Record, other: Record) -> Block:
    """The block with the signatures of both records; of one key's, that in ``other``.

    Raises:
        RecordError: if their bodies differ.
    """
    if one.id != other.id:
        raise RecordError(f"{one.cid} and {other.cid} do not sign the same")
    return assemble(one.body, {each.by: each.sig for record in (one, other) for each in record.signatures})


def _changes(before: Manifest, after: Manifest) -> Iterator[Change]:
    if not after.readable:  # what is hidden has not become empty
        yield Change("names and settings", "", "encrypted: peer federation sign shows them to an admin")
        after = replace(
            after, name=before.name, names=before.names, settings=before.settings, addresses=before.addresses
        )
    if before.name != after.name:
        yield Change("name", before.title, after.title)
    if (before.threshold, len(before.admins)) != (after.threshold, len(after.admins)):
        yield Change("admins who must sign", _of_admins(before), _of_admins(after))
    yield from _member_changes(before, after)
    for key in sorted(_strange_admins(before) ^ _strange_admins(after)):
        was, becomes = ("admin" if key in manifest.admins else "" for manifest in (before, after))
        yield Change(f"no member, {VerifyKey(key).did}", was, becomes)
    for key in after.revoked:
        if key not in before.revoked:
            yield Change(f"key {VerifyKey(key).did}", "", "revoked")
    if before.voting is not after.voting:
        yield Change("who votes for a run's leader", _VOTING[before.voting], _VOTING[after.voting])
    for run in sorted({*before.voters, *after.voters}):
        was, becomes = (", ".join(map(each.called, each.voters.get(run, ()))) for each in (before, after))
        if was != becomes:
            yield Change(f"voters of run {run}", was or _BY_SETTING, becomes or _BY_SETTING)
    yield from _private_changes(before, after)


def _private_changes(before: Manifest, after: Manifest) -> Iterator[Change]:
    """What changes of that which only members read, names apart."""
    settings = dict(before.settings.pairs()), dict(after.settings.pairs())
    for name in sorted({*settings[0], *settings[1]}):
        was, becomes = (str(getattr(manifest.settings, name)) for manifest in (before, after))
        if was != becomes:
            yield Change(f"setting {name}", was, becomes)
    for shredding in after.shredded:
        if shredding not in before.shredded:
            reason = f" ({named(shredding.reason)})" if shredding.reason else ""
            yield Change(f"run {shredding.run}", "", f"shredded from epoch {shredding.epoch} on, for ever{reason}")
    for address in sorted({*before.addresses} ^ {*after.addresses}):
        was, becomes = ("dialled" if address in manifest.addresses else "" for manifest in (before, after))
        yield Change(f"address {address}", was, becomes)


def _member_changes(before: Manifest, after: Manifest) -> Iterator[Change]:
    for member_id in sorted({*before.members, *after.members}):
        was, becomes = _member(before, member_id), _member(after, member_id)
        if was == becomes:
            continue
        shown = after if member_id in after.names else before
        if not was:  # the proposer chose its name; the key tells who it is
            becomes = f"{becomes}, {VerifyKey(after.members[member_id].signing).did}"
        yield Change(f"member {shown.called(member_id)}", was, becomes)


def _of_admins(manifest: Manifest) -> str:
    return f"{manifest.threshold} of {len(manifest.admins)}"


def _member(manifest: Manifest, member_id: bytes) -> str:
    """Everything in the manifest about a member, except its id; empty if it is no member."""
    member = manifest.members.get(member_id)
    if member is None:
        return ""
    office = ["admin"] if member.signing in manifest.admins else []
    keys = [] if member.signing == member_id else [f"key {VerifyKey(member.signing).did}"]
    return ", ".join([manifest.called(member_id), *member.roles, *office, *keys])


def _strange_admins(manifest: Manifest) -> frozenset[bytes]:
    """The keys of admins who are not members."""
    return frozenset(key for key in manifest.admins if manifest.member_by_key(key) is None)

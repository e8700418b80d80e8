"""Proposals: a next version of the manifest that not enough admins have signed yet (docs/protocol.md, section 5).

A proposal is a `Federation` record like any other, only not yet trusted. Its *id* is the CID of its body, which stays
the same however many sign. What admins hand on is the CID of its block, which is another with each signature: so
whoever fetches it has the signatures that it was told of, and nothing has to be found that nobody named. Signatures
that were made side by side meet again in `together`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from crypto.keys import SigningKey, VerifyKey
from protocol.blocks.cid import CID, Block, BlockSource
from protocol.federation.manifest import PUBLIC, Manifest, proposed_manifest
from protocol.federation.reading import Reader
from protocol.records.bodies import Federation
from protocol.records.signed import Record, RecordError, assemble, parse_record, sign_record


class Outdated(Exception):
    """A proposal that follows another version than the newest."""


@dataclass(frozen=True, slots=True)
class Change:
    """One thing that a proposal makes different. ``before`` is empty if it is new, ``after`` where it is gone."""

    what: str
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class Proposal:
    """A version that may follow ``base``, verified but for how many admins signed it."""

    record: Record
    base: Manifest
    next: Manifest
    """What would be in force. Its rules hold; nobody is to trust it before `is_complete`."""

    @property
    def id(self) -> CID:
        """Of its body: the same however many have signed."""
        return self.record.id

    @property
    def signers(self) -> frozenset[bytes]:
        """The admins, of either version, who signed."""
        signed = frozenset(signature.by for signature in self.record.signatures)
        return signed & {*self.base.admins, *self.next.admins}

    @property
    def lacking(self) -> int:
        """How many more signatures it needs at least."""
        return max(
            self.base.threshold - len(self.signers.intersection(self.base.admins)),
            self.next.threshold - len(self.signers.intersection(self.next.admins)),
            0,
        )

    @property
    def is_complete(self) -> bool:
        """Whether enough have signed: of the old version's admins, and of its own."""
        return not self.lacking

    def may_sign(self, key: bytes) -> bool:
        """Whether a signature with ``key`` counts, in the old version or in this one."""
        return key in self.base.admins or key in self.next.admins

    def changes(self) -> tuple[Change, ...]:
        """All that it makes different, for who is to sign."""
        return tuple(_changes(self.base, self.next))


def read_proposal(record: Record, current: Manifest, source: BlockSource, reader: Reader = PUBLIC) -> Proposal:
    """The proposal in ``record`` to follow ``current``, everything verified but the number of signatures.

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
    """The record's block with these signatures more."""
    return together(record, parse_record(sign_record(record.body, keys)))


def together(one: Record, other: Record) -> Block:
    """The block with the signatures of both, which are over one body.

    Raises:
        RecordError: if they are not.
    """
    if one.id != other.id:
        raise RecordError(f"{one.cid} and {other.cid} do not sign the same")
    return assemble(one.body, {each.by: each.sig for record in (one, other) for each in record.signatures})


def _changes(before: Manifest, after: Manifest) -> Iterator[Change]:
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
    settings = dict(before.settings.pairs()), dict(after.settings.pairs())
    for name in sorted({*settings[0], *settings[1]}):
        was, becomes = (str(getattr(manifest.settings, name)) for manifest in (before, after))
        if was != becomes:
            yield Change(f"setting {name}", was, becomes)


def _member_changes(before: Manifest, after: Manifest) -> Iterator[Change]:
    for member_id in sorted({*before.members, *after.members}):
        was, becomes = _member(before, member_id), _member(after, member_id)
        if was == becomes:
            continue
        shown = after if member_id in after.names else before
        if not was:  # its name is what the proposer calls it: this is who it is
            becomes = f"{becomes}, {VerifyKey(after.members[member_id].signing).did}"
        yield Change(f"member {shown.called(member_id)}", was, becomes)


def _of_admins(manifest: Manifest) -> str:
    return f"{manifest.threshold} of {len(manifest.admins)}"


def _member(manifest: Manifest, member_id: bytes) -> str:
    """All that the manifest says of a member but its id; empty if it is none."""
    member = manifest.members.get(member_id)
    if member is None:
        return ""
    office = ["admin"] if member.signing in manifest.admins else []
    keys = [] if member.signing == member_id else [f"key {VerifyKey(member.signing).did}"]
    return ", ".join([manifest.called(member_id), *member.roles, *office, *keys])


def _strange_admins(manifest: Manifest) -> frozenset[bytes]:
    """Admins who are no members."""
    return frozenset(key for key in manifest.admins if manifest.member_by_key(key) is None)

"""The manifest key: for whom it is wrapped, when there is a new one, and each of its rules broken alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from chains import (
    ADMIN,
    ALICE,
    BOB,
    DAVE,
    MEMBERS,
    TIME,
    Blocks,
    decryption_key,
    id_of,
    member,
    reader_of,
    unsigned_federation,
)

from crypto.symmetric import SymmetricKey
from protocol.federation.epochs import manifest_wraps
from protocol.federation.manifest import (
    PUBLIC,
    Manifest,
    ManifestError,
    ManifestRule,
    first_manifest,
    next_manifest,
    why_unreadable,
)
from protocol.federation.readers import Reader
from protocol.federation.unsigned_versions import (
    UnreadableManifest,
    UnsignedVersion,
    next_version,
    with_member,
    without_member,
)
from protocol.records.bodies import Federation, Role
from protocol.records.contexts import version_place
from protocol.records.signed_records import parse_record, sign_record

BY_ADMIN = {"by": id_of(ADMIN), "time": TIME}
ALICE_READS = reader_of(ALICE)
SOURCE = Blocks()


def first(body: Federation, reader: Reader = ALICE_READS) -> Manifest:
    return first_manifest(parse_record(sign_record(body, [ADMIN])), SOURCE, reader)


def after(manifest: Manifest, body: Federation, reader: Reader = ALICE_READS) -> Manifest:
    return next_manifest(manifest, parse_record(sign_record(body, [ADMIN])), SOURCE, reader)


def kept(unsigned: UnsignedVersion) -> Federation:
    """The unsigned's body, its blocks stored."""
    SOURCE.add(*unsigned.blocks)
    return unsigned.body


BODY = kept(unsigned_federation(key=SymmetricKey.generate()))
FIRST = first(BODY)


def wrapped_for(*people: str) -> Federation:
    """Version 1 with another key, wrapped for these members."""
    wrapped, blocks = manifest_wraps(SymmetricKey.generate(), [MEMBERS[name] for name in people], version_place(BODY))
    SOURCE.add(*blocks)
    return replace(BODY, key=wrapped)


def without_bob(**changes: object) -> Federation:
    return replace(kept(without_member(FIRST, id_of(BOB), **BY_ADMIN)), **changes)


def with_the_old_key() -> Federation:
    """Bob has left, and the key that he has is still in use."""
    body = without_bob(epoch=1)
    assert FIRST.key is not None
    others = [each for each in MEMBERS.values() if each.id != id_of(BOB)]
    wrapped, blocks = manifest_wraps(FIRST.key, others, version_place(body))
    SOURCE.add(*blocks)
    return replace(body, key=wrapped)


PLAIN = unsigned_federation().body
BROKEN: dict[str, tuple[ManifestRule, Callable[[], Manifest]]] = {
    "an epoch without a key": (ManifestRule.ENCRYPTION, lambda: first(replace(BODY, key=None))),
    "a key without an epoch": (ManifestRule.ENCRYPTION, lambda: first(replace(BODY, epoch=None))),
    "a key of a version to come": (ManifestRule.ENCRYPTION, lambda: first(replace(BODY, epoch=2))),
    "a later version that is plain": (
        ManifestRule.ENCRYPTION,
        lambda: after(FIRST, replace(PLAIN, version=2, prev=FIRST.cid)),
    ),
    "a new key said to be an old one": (ManifestRule.ENCRYPTION, lambda: after(FIRST, without_bob(epoch=1))),
    "a member whom the key is not wrapped for": (ManifestRule.KEY_READERS, lambda: first(wrapped_for("alice", "bob"))),
    "the old key after a member left": (ManifestRule.KEY_READERS, lambda: after(FIRST, with_the_old_key())),
    "a private part under another key": (ManifestRule.PRIVATE, lambda: first(wrapped_for(*MEMBERS))),
}


@pytest.mark.parametrize(("rule", "parse"), BROKEN.values(), ids=BROKEN.keys())
def test_a_version_that_breaks_a_rule_of_encryption_is_refused(rule: ManifestRule, parse: Callable[[], Manifest]):
    with pytest.raises(ManifestError) as caught:
        parse()
    assert caught.value.rule == rule


def with_false_wraps(body: Federation, *people: str) -> Federation:
    """What an admin signs that wraps another key for ``people`` than the one that all are told of."""
    assert body.key is not None
    wrapped, blocks = manifest_wraps(SymmetricKey.generate(), [MEMBERS[name] for name in people], version_place(body))
    SOURCE.add(*blocks)
    return replace(body, key=replace(wrapped, commitment=body.key.commitment))


def test_a_member_with_a_false_manifest_key_takes_the_rest_and_reads_the_next_version():
    """No co-signer can see it: if it kept the member out, one admin could do so for good."""
    honest, reader = without_bob(), reader_of(ALICE)
    stay = [name for name in MEMBERS if name != "bob"]
    second = after(first(BODY, reader), with_false_wraps(honest, *stay), reader)
    assert (second.misled, second.key, second.name, len(second.members)) == (True, None, "", len(stay))
    assert "another key for us than for all others" in why_unreadable(second)
    true_key = after(FIRST, honest)  # of who has it: the admin that goes on from there
    later = kept(next_version(replace(true_key, cid=second.cid), **BY_ADMIN))
    third = after(second, later, reader)
    assert (third.misled, third.name) == (False, "trial")


def test_a_false_wrap_of_a_key_that_the_member_has_harms_nobody():
    reader = reader_of(BOB)
    known = first(BODY, reader)
    second = after(known, with_false_wraps(kept(next_version(known, **BY_ADMIN)), *MEMBERS), reader)
    assert (second.misled, second.name) == (False, "trial")


def test_a_reader_without_keys_cannot_tell_a_false_manifest_key_and_takes_the_rest():
    assert first(wrapped_for(*MEMBERS), PUBLIC).members == FIRST.members


def test_a_member_without_the_key_that_it_is_listed_with_takes_the_rest():
    """From an old backup, say: nobody is to blame for a wrap that does not open."""
    read = first(BODY, Reader(id_of(ALICE), [decryption_key(BOB)]))
    assert (read.members, read.key) == (FIRST.members, None)


def test_the_key_stays_when_a_member_joins_that_reads_the_versions_after_it():
    unsigned = kept(with_member(FIRST, member(DAVE, Role.CLIENT, place=FIRST.federation), "dave", **BY_ADMIN))
    second = after(FIRST, unsigned, reader_of(DAVE))
    assert (second.key_epoch, second.key_commitment) == (1, FIRST.key_commitment)
    assert second.names[id_of(DAVE)] == "dave"


def test_the_key_is_new_when_a_member_leaves_which_then_reads_nothing():
    body = without_bob()
    second, seen_by_bob = after(FIRST, body), after(FIRST, body, reader_of(BOB))
    assert second.key_epoch == 2
    assert second.key_commitment != FIRST.key_commitment
    assert (second.name, seen_by_bob.name) == ("trial", "")


def test_an_admin_that_cannot_read_a_manifest_cannot_write_the_next():
    with pytest.raises(UnreadableManifest):
        next_version(first(BODY, PUBLIC), **BY_ADMIN)

"""Members' keys over their life: handed over to newer ones, and revoked."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

import pytest
from chains import (
    ADMIN,
    ALICE,
    BOB,
    DAVE,
    MEMBERS,
    SERVER,
    STRANGER,
    TIME,
    Blocks,
    begun,
    id_of,
    key,
    member,
    members_of,
    rotated,
    unsigned_federation,
)

from crypto.identity import sign_first_keys
from crypto.keys import SigningKey
from protocol.chain import rules
from protocol.federation.manifest import Manifest, ManifestError, ManifestRule, first_manifest, next_manifest
from protocol.federation.unsigned_versions import UnsignedVersion, next_version, with_member, with_revoked
from protocol.records.bodies import EncryptionKeyText, Handover, Member, Role
from protocol.records.signed_records import parse_record, sign_record

NEWER, NEWEST = key("alice, newer"), key("alice, newest")
ALICE_BEFORE = MEMBERS["alice"]
BY_ADMIN = {"by": id_of(ADMIN), "time": TIME}


def first(*admins: SigningKey) -> Manifest:
    """Version 1, with as many admins."""
    signers = admins or (ADMIN,)
    unsigned = unsigned_federation(
        members_of(signers[0]), admins=[id_of(each) for each in signers], by=id_of(signers[0])
    )
    return first_manifest(parse_record(sign_record(unsigned.body, signers)), Blocks())


def after(manifest: Manifest, unsigned: UnsignedVersion, *signers: SigningKey) -> Manifest:
    """The version that ``unsigned`` makes, signed by the admin if nobody else is named."""
    return next_manifest(manifest, parse_record(sign_record(unsigned.body, signers or (ADMIN,))), Blocks())


def with_alice(manifest: Manifest, alice: Member) -> UnsignedVersion:
    return with_member(manifest, alice, "alice", **BY_ADMIN)


def broken(check: Callable[[], object]) -> ManifestRule:
    """The rule that ``check`` finds broken."""
    with pytest.raises(ManifestError) as caught:
        check()
    return caught.value.rule


FIRST = first()
HOME = FIRST.federation
ALICE_AFTER = rotated(ALICE_BEFORE, ALICE, NEWER, place=HOME)
ROTATED = after(FIRST, with_alice(FIRST, ALICE_AFTER))


# -- new keys ------------------------------------------------------------------------------------------------------


def test_a_member_keeps_its_id_through_any_number_of_new_keys():
    newest = rotated(ALICE_AFTER, NEWER, NEWEST, place=HOME)
    third = after(ROTATED, with_alice(ROTATED, newest))
    assert third.members[id_of(ALICE)].signing == id_of(NEWEST)
    assert third.member_by_key(id_of(NEWER)) is None


def test_a_member_with_new_keys_may_get_another_role_and_name_later():
    third = after(ROTATED, with_member(ROTATED, replace(ALICE_AFTER, roles=(Role.AUDITOR,)), "auditor", **BY_ADMIN))
    assert third.members[id_of(ALICE)].signing == id_of(NEWER)


def test_an_admin_that_is_a_member_stays_one_under_its_new_key():
    manifest = first(SERVER)
    server = rotated(MEMBERS["server"], SERVER, NEWER, place=manifest.federation)
    unsigned = with_member(manifest, server, "server", by=id_of(NEWER), time=TIME)
    assert after(manifest, unsigned, SERVER, NEWER).admins == (id_of(NEWER),)
    assert broken(lambda: after(manifest, unsigned, NEWER)) == ManifestRule.OLD_SIGNERS
    assert broken(lambda: after(manifest, unsigned, SERVER)) == ManifestRule.SIGNERS


OTHER_KEY = EncryptionKeyText(suite="test", key=b"the admin's own")
BROKEN_MEMBERS = {
    "new keys without a hand-over": (FIRST, replace(ALICE_AFTER, handover=None)),
    "a hand-over by somebody else's key": (FIRST, rotated(ALICE_BEFORE, BOB, NEWER, place=HOME)),
    "a hand-over that the new key did not sign": (
        FIRST,
        replace(ALICE_AFTER, handover=replace(ALICE_AFTER.handover, new=ALICE_AFTER.handover.old)),
    ),
    "a hand-over to another encryption key": (FIRST, replace(ALICE_AFTER, encryption=OTHER_KEY)),
    "a hand-over of another member's": (
        FIRST,
        replace(ALICE_AFTER, handover=rotated(MEMBERS["bob"], ALICE, NEWER, place=HOME).handover),
    ),
    "a hand-over by the key before the last": (ROTATED, rotated(ALICE_AFTER, ALICE, NEWEST, place=HOME)),
    "the old keys again": (ROTATED, ALICE_BEFORE),
    "a hand-over without new keys": (FIRST, replace(ALICE_BEFORE, handover=ALICE_AFTER.handover)),
    "the same keys without their hand-over": (ROTATED, replace(ALICE_AFTER, handover=None)),
    "another encryption key alone": (FIRST, replace(ALICE_BEFORE, encryption=OTHER_KEY)),
    "a new member with a hand-over to its first key": (
        FIRST,
        replace(member(DAVE, Role.CLIENT, place=HOME), handover=Handover(old=bytes(64), new=bytes(64))),
    ),
    "a new member who did not sign for its keys": (FIRST, replace(member(DAVE, Role.CLIENT, place=HOME), proof=None)),
    "a new member with the admin's encryption key": (
        FIRST,
        replace(member(DAVE, Role.CLIENT, place=HOME), encryption=OTHER_KEY),
    ),
    "a new member with somebody else's proof": (
        FIRST,
        replace(
            member(DAVE, Role.CLIENT, place=HOME),
            proof=sign_first_keys(ADMIN, OTHER_KEY.suite, OTHER_KEY.key, bytes(HOME)),
        ),
    ),
    "a new member with newer keys that another handed over": (
        FIRST,
        rotated(member(DAVE, Role.CLIENT, place=HOME), BOB, NEWER, place=HOME),
    ),
    "a new member with newer keys that nobody handed over": (
        FIRST,
        replace(member(DAVE, Role.CLIENT, place=HOME), signing=id_of(NEWER)),
    ),
    "newer keys with the proof of the first": (FIRST, replace(ALICE_AFTER, proof=ALICE_BEFORE.proof)),
}


@pytest.mark.parametrize(("before", "changed"), BROKEN_MEMBERS.values(), ids=BROKEN_MEMBERS.keys())
def test_nobody_but_the_member_brings_in_new_keys(before: Manifest, changed: Member):
    unsigned = with_member(before, changed, "changed", **BY_ADMIN)
    assert broken(lambda: after(before, unsigned)) == ManifestRule.HANDOVER


# -- revoked keys --------------------------------------------------------------------------------------------------

REVOKED = after(FIRST, with_revoked(FIRST, ALICE_BEFORE, **BY_ADMIN))


def test_a_revoked_member_is_not_listed_any_more():
    assert REVOKED.revoked == (id_of(ALICE),)
    assert id_of(ALICE) not in REVOKED.members
    assert id_of(ALICE) not in REVOKED.names


def test_every_key_in_use_of_a_member_is_revoked():
    revoked = after(ROTATED, with_revoked(ROTATED, ALICE_AFTER, **BY_ADMIN)).revoked
    assert set(revoked) == {id_of(ALICE), id_of(NEWER)}


def test_an_admin_that_is_revoked_is_no_longer_one():
    manifest = first(ADMIN, SERVER)
    revoked = after(manifest, with_revoked(manifest, MEMBERS["server"], **BY_ADMIN))
    assert revoked.admins == (id_of(ADMIN),)


def revoking(manifest: Manifest, keys: Iterable[bytes], **changes: object) -> UnsignedVersion:
    return next_version(manifest, revoked=keys, **BY_ADMIN, **changes)


def with_key_of(signer: SigningKey, other: Member) -> Member:
    """A newcomer that brings another's encryption key as its own, and signs for it."""
    proof = sign_first_keys(signer, other.encryption.suite, other.encryption.key, bytes(HOME))
    return replace(member(signer, Role.CLIENT, place=HOME), encryption=other.encryption, proof=proof)


REVOKED_LATER = after(REVOKED, next_version(REVOKED, **BY_ADMIN))

BROKEN_REVOCATIONS = {
    "a revoked key that is not any more": (REVOKED, revoking(REVOKED, ())),
    "a member who comes back": (REVOKED, with_alice(REVOKED, member(ALICE, Role.CLIENT, place=HOME))),
    "a new member with a revoked one's encryption key": (
        REVOKED_LATER,
        with_member(REVOKED_LATER, with_key_of(DAVE, ALICE_BEFORE), "dave", **BY_ADMIN),
    ),
    "a member's key": (ROTATED, revoking(ROTATED, [id_of(NEWER)])),
    "a member's id": (ROTATED, revoking(ROTATED, [id_of(ALICE)])),
    "an admin": (FIRST, revoking(FIRST, [id_of(ADMIN)])),
    "a key twice": (FIRST, revoking(FIRST, [id_of(STRANGER)] * 2)),
}


@pytest.mark.parametrize(("before", "unsigned"), BROKEN_REVOCATIONS.values(), ids=BROKEN_REVOCATIONS.keys())
def test_a_revoked_key_never_counts_again(before: Manifest, unsigned: UnsignedVersion):
    assert broken(lambda: after(before, unsigned)) == ManifestRule.REVOKED


def test_too_many_revoked_keys_are_refused(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("protocol.federation.member_rules.MAX_REVOKED", 0)
    assert broken(lambda: after(FIRST, with_revoked(FIRST, ALICE_BEFORE, **BY_ADMIN))) == ManifestRule.REVOKED


ELSEWHERE = first(ADMIN, SERVER).federation


@pytest.mark.parametrize(
    ("before", "alice"),
    [
        (FIRST, member(DAVE, Role.CLIENT, place=ELSEWHERE)),
        (FIRST, member(DAVE, Role.CLIENT, place=ADMIN)),
        (FIRST, rotated(ALICE_BEFORE, ALICE, NEWER, place=ELSEWHERE)),
    ],
    ids=[
        "a proof for another federation",
        "a proof for a founder's first version",
        "a hand-over in another federation",
    ],
)
def test_what_a_member_signed_about_its_keys_holds_in_its_federation_alone(before: Manifest, alice: Member):
    """An admin with another federation's manifest cannot list its members: they have not agreed to this one."""
    assert broken(lambda: after(before, with_member(before, alice, "her", **BY_ADMIN))) == ManifestRule.HANDOVER


def test_an_owner_that_named_no_federation_may_be_listed_in_any():
    dave = member(DAVE, Role.CLIENT, place=None)
    assert after(FIRST, with_member(FIRST, dave, "dave", **BY_ADMIN)).members[dave.id].proof == dave.proof


def test_nobody_is_listed_in_version_1_but_by_the_founder_that_it_said_so_to():
    unsigned = unsigned_federation(admins=[id_of(STRANGER)], by=id_of(STRANGER))  # with members of the admin's
    record = parse_record(sign_record(unsigned.body, [STRANGER]))
    assert broken(lambda: first_manifest(record, Blocks())) == ManifestRule.HANDOVER


@pytest.mark.parametrize("claim", [{"time": 0.0, "created": 0.0}, {}], ids=["an earlier time", "the present"])
def test_a_reply_of_a_client_that_was_revoked_is_refused_whatever_it_claims(claim: dict[str, float]):
    scribe = begun()
    reply = scribe.taken(ALICE, **claim)
    manifest = scribe.next_manifest(with_revoked(scribe.manifest, ALICE_BEFORE, **BY_ADMIN))
    scribe.add(scribe.roster(manifest.cid))
    with pytest.raises(rules.ReplyAuthor):
        scribe.add(scribe.collect(reply))


def test_a_reply_that_was_collected_before_the_revocation_stays_in_the_chain():
    scribe = begun()
    scribe.add(scribe.collect(scribe.taken(ALICE)))
    manifest = scribe.next_manifest(with_revoked(scribe.manifest, ALICE_BEFORE, **BY_ADMIN))
    scribe.add(scribe.roster(manifest.cid))
    assert scribe.chain.height == 3


def test_a_reply_is_judged_by_its_authors_key_at_the_collect():
    scribe = begun()
    manifest = scribe.next_manifest(with_member(scribe.manifest, ALICE_AFTER, "alice", **BY_ADMIN))
    scribe.add(scribe.roster(manifest.cid))
    with pytest.raises(rules.ReplyKey):
        scribe.add(scribe.collect(scribe.taken(ALICE)))
    scribe.add(scribe.collect(scribe.taken(ALICE, NEWER)))


def test_a_leader_signs_the_roster_with_its_old_key_and_goes_on_with_the_new_one():
    scribe = begun()
    server = rotated(MEMBERS["server"], SERVER, NEWER, place=HOME)
    manifest = scribe.next_manifest(with_member(scribe.manifest, server, "server", **BY_ADMIN))
    roster = scribe.roster(manifest.cid)
    with pytest.raises(rules.LeaderKey):
        scribe.chain.append_block(scribe.sign(roster, NEWER), scribe.source)
    scribe.add(roster)
    scribe.chain.append_block(scribe.sign(scribe.close(), NEWER), scribe.source)

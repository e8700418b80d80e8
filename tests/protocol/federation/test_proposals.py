"""Proposals: how many signatures are lacking, what a proposal changes, and which proposals nobody should sign."""

from __future__ import annotations

from dataclasses import replace

import pytest
from chains import ADMIN, ALICE, BOB, DAVE, MEMBERS, SERVER, TIME, Blocks, id_of, key, member, unsigned_federation

from crypto.keys import SigningKey
from protocol.blocks.cid import Block, raw_block
from protocol.federation.manifest import (
    Manifest,
    ManifestError,
    ManifestRule,
    Settings,
    first_manifest,
    manifest_at,
    next_manifest,
)
from protocol.federation.proposals import Change, Outdated, Proposal, countersigned, read_proposal, together
from protocol.federation.unsigned_versions import UnsignedVersion, next_version, with_member, without_member
from protocol.records.bodies import Role, Voting
from protocol.records.signed_records import RecordError, parse_record, sign_record

BY_ADMIN = {"by": id_of(ADMIN), "time": TIME}
SOURCE = Blocks()


def kept(unsigned: UnsignedVersion, *signers: SigningKey) -> Block:
    block = sign_record(unsigned.body, signers)
    SOURCE.add(block, *unsigned.blocks)
    return block


def proposal(base: Manifest, unsigned: UnsignedVersion, *signers: SigningKey) -> Proposal:
    return read_proposal(parse_record(kept(unsigned, *signers)), base, SOURCE)


FIRST = first_manifest(
    parse_record(
        kept(unsigned_federation(admins=map(id_of, (ADMIN, SERVER, ALICE)), threshold=2), ADMIN, SERVER, ALICE)
    ),
    SOURCE,
)


def test_no_more_have_to_sign_than_are_admins():
    assert next_version(FIRST, admins=FIRST.admins[:1], **BY_ADMIN).body.threshold == 1
    assert next_version(FIRST, admins=FIRST.admins[:2], **BY_ADMIN).body.threshold == 2


def test_a_proposal_lacks_what_the_old_version_asks_for():
    unsigned = next_version(FIRST, threshold=1, **BY_ADMIN)
    assert proposal(FIRST, unsigned, ADMIN).lacking == 1
    assert proposal(FIRST, unsigned, ADMIN, ALICE).is_complete


def test_a_proposal_lacks_what_the_new_version_asks_for():
    unsigned = next_version(FIRST, threshold=3, **BY_ADMIN)
    assert proposal(FIRST, unsigned, ADMIN).lacking == 2
    assert not proposal(FIRST, unsigned, ADMIN, ALICE).is_complete


def test_signatures_of_new_admins_do_not_stand_for_old_ones():
    unsigned = next_version(FIRST, admins=[id_of(ADMIN), id_of(BOB)], **BY_ADMIN)
    assert proposal(FIRST, unsigned, ADMIN, BOB).lacking == 1
    assert proposal(FIRST, unsigned, ADMIN, ALICE).lacking == 1
    assert proposal(FIRST, unsigned, ADMIN, ALICE, BOB).is_complete


def test_what_somebody_else_than_an_admin_signed_too_is_no_proposal():
    with pytest.raises(ManifestError) as caught:
        proposal(FIRST, next_version(FIRST, **BY_ADMIN), ADMIN, DAVE)
    assert caught.value.rule is ManifestRule.SIGNATURE


def test_a_complete_proposal_is_the_next_manifest():
    complete = proposal(FIRST, next_version(FIRST, threshold=3, **BY_ADMIN), ADMIN, SERVER, ALICE)
    assert next_manifest(FIRST, complete.record, SOURCE) == complete.next


def test_an_incomplete_proposal_is_no_manifest():
    incomplete = proposal(FIRST, next_version(FIRST, **BY_ADMIN), ADMIN)
    with pytest.raises(ManifestError):
        next_manifest(FIRST, incomplete.record, SOURCE)


def test_its_id_stays_and_its_block_is_another_with_each_signature():
    one = proposal(FIRST, next_version(FIRST, **BY_ADMIN), ADMIN).record
    two = parse_record(countersigned(one, [ALICE]))
    assert (two.id, two.cid != one.cid) == (one.id, True)
    two.check_signatures()
    assert set(two.signers) == {id_of(ADMIN), id_of(ALICE)}


def test_signatures_made_side_by_side_are_put_together():
    one = proposal(FIRST, next_version(FIRST, **BY_ADMIN), ADMIN).record
    by_server, by_alice = (parse_record(countersigned(one, [each])) for each in (SERVER, ALICE))
    assert len(parse_record(together(by_server, by_alice)).signers) == 3


def test_signatures_over_two_bodies_are_not_put_together():
    one, other = (proposal(FIRST, next_version(FIRST, by=id_of(ADMIN), time=TIME + n), ADMIN).record for n in (0, 1))
    with pytest.raises(RecordError):
        together(one, other)


def test_what_no_admin_signed_is_no_proposal():
    with pytest.raises(ManifestError) as caught:
        proposal(FIRST, next_version(FIRST, **BY_ADMIN), DAVE)
    assert caught.value.rule == ManifestRule.SIGNATURE


def test_a_proposal_that_breaks_another_rule_is_refused():
    with pytest.raises(ManifestError) as caught:
        proposal(FIRST, next_version(FIRST, threshold=4, **BY_ADMIN), ADMIN)
    assert caught.value.rule == ManifestRule.THRESHOLD


def test_a_proposal_is_outdated_once_another_version_is_in_force():
    unsigned = next_version(FIRST, **BY_ADMIN)
    second = proposal(FIRST, next_version(FIRST, threshold=3, **BY_ADMIN), ADMIN, SERVER, ALICE).next
    with pytest.raises(Outdated):
        proposal(second, unsigned, ADMIN)


def test_all_that_changes_is_told():
    unsigned = with_member(FIRST, member(DAVE, Role.CLIENT, place=FIRST.federation), "dave", admin=True, **BY_ADMIN)
    assert proposal(FIRST, unsigned, ADMIN).changes() == (
        Change("admins who must sign", "2 of 3", "2 of 4"),
        Change("member dave", "", f"dave, client, admin, {DAVE.verify_key.did}"),
    )
    alice = MEMBERS["alice"]
    unsigned = without_member(FIRST, alice.id, **BY_ADMIN)
    assert proposal(FIRST, unsigned, ADMIN).changes() == (
        Change("admins who must sign", "2 of 3", "2 of 2"),
        Change("member alice", "alice, client, admin", ""),
    )


def test_addresses_that_members_would_dial_are_told():
    kept_one, left, new = (
        f"/dns4/{name}.org/tcp/1/p2p/QmYyQSo1c1Ym7orWxLYvCrM2EmxFTANf8wXmmE7DWjhx5N" for name in "abc"
    )
    first = proposal(FIRST, next_version(FIRST, addresses=[kept_one, left], **BY_ADMIN), ADMIN).next
    after = proposal(FIRST, next_version(FIRST, addresses=[kept_one, new], **BY_ADMIN), ADMIN)
    assert replace(after, base=first).changes() == (
        Change(f"address {left}", "dialled", ""),
        Change(f"address {new}", "", "dialled"),
    )


def test_who_votes_is_told():
    run = raw_block(b"a run").cid
    unsigned = next_version(FIRST, voting=Voting.SERVERS, voters={run: [id_of(ALICE), id_of(SERVER)]}, **BY_ADMIN)
    named = ", ".join(FIRST.called(each) for each in sorted([id_of(ALICE), id_of(SERVER)]))
    assert proposal(FIRST, unsigned, ADMIN).changes() == (
        Change("who votes for a run's leader", "servers and clients", "servers"),
        Change(f"voters of run {run}", "as in all runs", named),
    )


def test_names_that_a_reader_cannot_have_are_not_told_as_changed():
    """If a member leaves, there is a new manifest key: `peer federation proposals` unlocks none that would open it."""
    told = proposal(FIRST, without_member(FIRST, MEMBERS["alice"].id, **BY_ADMIN), ADMIN)
    hidden = replace(told.next, key_epoch=2, name="", names={}, settings=Settings())
    assert replace(told, next=hidden).changes() == (
        Change("names and settings", "", "encrypted: peer federation sign shows them to an admin"),
        *told.changes(),
    )


def test_an_admin_that_is_no_member_is_told_of():
    stranger = key("stranger")
    unsigned = next_version(FIRST, admins=[*FIRST.admins, id_of(stranger)], **BY_ADMIN)
    assert Change(f"no member, {stranger.verify_key.did}", "", "admin") in proposal(FIRST, unsigned, ADMIN).changes()


def test_one_version_in_two_blocks_is_one_version():
    unsigned = next_version(FIRST, **BY_ADMIN)
    known, elsewhere = (proposal(FIRST, unsigned, ADMIN, each).next for each in (SERVER, ALICE))
    third = kept(next_version(elsewhere, **BY_ADMIN), ADMIN, ALICE)
    assert known.cid != elsewhere.cid
    assert manifest_at(third.cid, FIRST.cid, SOURCE, known=known).version == 3
    assert manifest_at(elsewhere.cid, FIRST.cid, SOURCE, known=known) == elsewhere


def test_a_version_that_leads_back_to_another_body_is_refused():
    known = proposal(FIRST, next_version(FIRST, **BY_ADMIN), ADMIN, SERVER).next
    fork = proposal(FIRST, next_version(FIRST, by=id_of(ADMIN), time=TIME + 1), ADMIN, SERVER).next
    third = kept(next_version(fork, **BY_ADMIN), ADMIN, ALICE)
    with pytest.raises(ManifestError) as caught:
        manifest_at(third.cid, FIRST.cid, SOURCE, known=known)
    assert caught.value.rule == ManifestRule.FEDERATION


def test_a_version_without_enough_signatures_is_not_skipped_on_the_way():
    unsigned = proposal(FIRST, next_version(FIRST, threshold=1, **BY_ADMIN), ADMIN).next
    third = kept(next_version(unsigned, **BY_ADMIN), ADMIN, SERVER, ALICE)
    with pytest.raises(ManifestError) as caught:
        manifest_at(third.cid, FIRST.cid, SOURCE, known=FIRST)
    assert caught.value.rule == ManifestRule.OLD_SIGNERS

"""A chain goes on in another term, whatever stands before the takeover."""

from __future__ import annotations

from dataclasses import replace

import pytest
from chains import (
    ADMIN,
    ALICE,
    BOB,
    CAROL,
    DAVE,
    KEEPER,
    SECOND,
    SERVER,
    STRANGER,
    TIME,
    WITH_KEEPER,
    Scribe,
    begun,
    id_of,
    member,
    reader_of,
    rotated,
    unsigned_federation,
)
from rostered import bring, change, remove
from spoiled_places import filled_until

from crypto.keys import SigningKey
from protocol.blocks.cid import CID, raw_block
from protocol.chain import closure
from protocol.chain.closure import missing
from protocol.chain.takeover import holds_without_removed
from protocol.federation.manifest import Manifest, ManifestError, ManifestRule, next_manifest
from protocol.federation.unsigned_versions import next_version, with_member, without_member
from protocol.federation.voters import Voting, majority_of, voters_of
from protocol.records.bodies import Role, RunVoters
from protocol.records.signed_records import RecordError, body_value, parse_record


def test_the_new_leader_answers_for_what_the_one_before_sent():
    scribe = begun()
    step = scribe.lead()
    assert (step.took_over, scribe.chain.by, scribe.chain.term) == (True, id_of(SECOND), 2)
    assert len(scribe.chain.open) == 2
    assert not scribe.add(scribe.collect(scribe.taken(ALICE), scribe.error(BOB))).took_over
    scribe.add(scribe.close())
    assert scribe.chain.closed


def test_a_takeover_may_follow_the_run_record_another_one_or_itself():
    scribe = Scribe()
    scribe.add(scribe.run())
    scribe.lead()
    scribe.lead(leader=SERVER, voters=(SERVER, ALICE, BOB))
    scribe.lead(leader=SERVER, voters=(SERVER, ALICE, CAROL))
    assert (scribe.chain.height, scribe.chain.term) == (3, 4)


def test_terms_may_have_gaps():
    scribe = begun()
    votes = [scribe.sign(scribe.vote(each, term=9), each) for each in sorted((SECOND, ALICE, BOB), key=id_of)]
    scribe.lead(*votes, term=9)
    assert scribe.chain.term == 9


def test_its_votes_are_found_right_once():
    scribe = begun()
    step = scribe.lead()
    assert step.well_signed == (step.record.cid, *(vote.cid for vote in step.votes))


def test_the_index_comes_after_two_takeovers_that_stand_where_it_is_due():
    scribe = filled_until(255)()
    scribe.lead()
    scribe.lead(leader=SERVER, voters=(SERVER, ALICE, BOB))
    assert scribe.chain.index_due
    scribe.add(scribe.index())
    assert (scribe.chain.height, len(scribe.chain.recent), scribe.chain.index_due) == (258, 256, False)


@pytest.mark.parametrize("removed", [SERVER, BOB])
def test_a_takeover_may_follow_a_roster_even_one_without_the_leader(removed: SigningKey):
    scribe = begun()
    remove(scribe, removed)
    scribe.lead(voters=(SECOND, ALICE, CAROL))
    assert scribe.chain.by == id_of(SECOND)


@pytest.mark.parametrize("reader", [SERVER, ALICE, DAVE])
def test_the_next_leader_carries_on_the_epochs_of_an_encrypted_run(reader: SigningKey):
    scribe = begun(encrypted=True, reader=reader_of(reader))
    scribe.lead()
    before = scribe.epoch
    scribe.add(scribe.collect(scribe.taken(ALICE)))
    scribe.add(scribe.roster(scribe.with_dave().cid))
    assert scribe.message(BOB).epoch == 1, "sent before, in the term before"
    scribe.add(scribe.collect(scribe.taken(BOB)))
    assert scribe.epoch is not None
    assert before is not None
    assert (scribe.epoch.number, scribe.epoch.run) == (2, before.run)
    step = scribe.add(scribe.dispatch())
    assert [message.epoch for message in step.opened] == [2, 2]
    assert {message.group for message in step.opened} == {"1"}, "the private part is read"


# -- around a roster -------------------------------------------------------------------------------------------------


def without(scribe: Scribe, *removed: SigningKey) -> Manifest:
    """The version that removes these members."""
    manifest = scribe.manifest
    for each in removed:
        unsigned = without_member(manifest, id_of(each), by=id_of(ADMIN), time=TIME)
        manifest = scribe.read_manifest(scribe.next_manifest(unsigned).cid)
    return manifest


@pytest.mark.parametrize(
    ("removed", "holds"),
    [
        ((), True),
        ((SERVER,), True),
        ((BOB,), True),
        ((BOB, ALICE), False),
        ((SERVER, BOB), True),
        ((SERVER, CAROL, ALICE, BOB), True),
        ((SECOND, ALICE, BOB), False),
    ],
    ids=["nobody", "the leader before", "one of three", "two of three", "one beside the leader", "others", "all three"],
)
def test_removed_members_bring_nobody_to_the_lead(removed: tuple[SigningKey, ...], holds: bool):
    scribe = begun()
    before, newest = scribe.chain.manifest, without(scribe, *removed)
    votes = scribe.lead(voters=(SECOND, ALICE, BOB)).votes
    assert holds_without_removed(votes, scribe.chain.run, before, newest) is holds


def test_a_stolen_key_that_was_revoked_brings_nobody_to_the_lead():
    scribe = begun()
    before = scribe.manifest
    members = {**before.members, id_of(ALICE): rotated(before.members[id_of(ALICE)], ALICE, DAVE, place=before.cid)}
    unsigned = next_version(before, by=id_of(ADMIN), time=TIME, members=members.values())
    newest = scribe.read_manifest(scribe.next_manifest(unsigned).cid)
    votes = scribe.lead(voters=(SECOND, ALICE, BOB)).votes
    assert holds_without_removed(votes, scribe.chain.run, before, newest), "it is hers still, until it is revoked"
    revoked = replace(newest, revoked=(id_of(ALICE), id_of(BOB)))
    assert not holds_without_removed(votes, scribe.chain.run, before, revoked), "one is left of three"


def exchanged(scribe: Scribe, *removed: SigningKey) -> None:
    """A roster that removes these members, and brings Dave."""
    dave = member(DAVE, Role.CLIENT, place=scribe.first.cid)
    unsigned = with_member(without(scribe, *removed), dave, "dave", by=id_of(ADMIN), time=TIME)
    bring(scribe, unsigned)


ALL = {SERVER, SECOND, ALICE, BOB, CAROL}


def test_a_roster_that_changes_who_votes_leaves_those_before_it_a_say_until_the_next_one():
    scribe = begun()
    assert not scribe.chain.voters_before
    change(scribe, voting=Voting.SERVERS)
    assert scribe.chain.voters_before == set(map(id_of, ALL))
    change(scribe)
    assert not scribe.chain.voters_before
    scribe.lead(voters=(SERVER, SECOND))


@pytest.mark.parametrize("encrypted", [True, False])
def test_a_roster_that_names_its_manifest_again_ends_that_and_changes_nothing_else(encrypted: bool):
    scribe = begun(encrypted=encrypted, reader=reader_of(SERVER))
    change(scribe, voting=Voting.SERVERS)
    manifest = scribe.chain.manifest
    scribe.add(scribe.roster(manifest.cid))
    assert (scribe.chain.voters_before, scribe.chain.manifest) == (frozenset(), manifest)
    assert len(scribe.chain.open) == 2
    scribe.lead(voters=(SERVER, SECOND))


def test_a_member_that_has_no_vote_any_more_votes_for_the_takeover_after_that_roster():
    scribe = begun()
    change(scribe, voting=Voting.SERVERS)
    scribe.lead(voters=(SERVER, SECOND, ALICE))
    assert scribe.chain.term == 2


@pytest.mark.parametrize(
    ("removed", "asked"),
    [((), ALL), ((SERVER,), ALL - {SERVER}), ((SERVER, BOB), {SECOND, ALICE, CAROL}), ((SERVER, BOB, CAROL), set())],
    ids=["nobody", "the leader", "less than half", "more than half"],
)
def test_of_the_voters_before_a_roster_those_count_that_are_left_if_they_are_more_than_half(
    removed: tuple[SigningKey, ...], asked: set[SigningKey]
):
    scribe = begun()
    exchanged(scribe, *removed)
    assert scribe.chain.voters_before == set(map(id_of, asked))


def test_a_roster_that_removes_most_voters_and_the_leader_leaves_takeovers_possible():
    scribe = begun()
    exchanged(scribe, SERVER, ALICE, BOB, CAROL)
    scribe.lead(voters=(SECOND, DAVE))
    assert scribe.chain.by == id_of(SECOND)


def test_those_that_a_roster_only_removes_are_asked_nothing():
    scribe = begun()
    scribe.add(scribe.roster(without(scribe, SERVER, BOB).cid))
    assert not scribe.chain.voters_before, "all that are left vote anyway"


# -- what to fetch --------------------------------------------------------------------------------------------------


def test_its_closure_has_its_votes():
    scribe = begun()
    block = scribe.sign(scribe.takeover(), SECOND)
    votes = [vote.cid for vote in scribe.lead().votes]
    for vote in votes:
        del scribe.source[vote]
    assert missing(block, scribe.source) == votes


def test_more_votes_than_members_are_not_fetched(monkeypatch: pytest.MonkeyPatch):
    scribe = begun()
    monkeypatch.setattr(closure, "MAX_MEMBERS", 2)
    with pytest.raises(RecordError, match="more than 2 votes"):
        missing(scribe.sign(scribe.takeover(), SECOND), scribe.source)


# -- who votes -----------------------------------------------------------------------------------------------------

RUN = raw_block(b"a run").cid
WITH_AUDITOR = {**WITH_KEEPER, "dave": member(DAVE, Role.AUDITOR)}


@pytest.mark.parametrize(
    ("voting", "named", "expected"),
    [
        (Voting.ALL, {}, ALL),
        (Voting.SERVERS, {}, {SERVER, SECOND}),
        (Voting.SERVERS, {RUN: [ALICE, SECOND]}, {ALICE, SECOND}),
        (Voting.ALL, {raw_block(b"another").cid: [ALICE]}, ALL),
        (Voting.ALL, {RUN: [ALICE, KEEPER, DAVE, STRANGER]}, {ALICE}),
        (Voting.ALL, {RUN: [KEEPER]}, set()),
    ],
)
def test_servers_and_clients_vote_or_those_that_an_admin_names(
    voting: Voting, named: dict[CID, list[SigningKey]], expected: set[SigningKey]
):
    voters = {run: list(map(id_of, keys)) for run, keys in named.items()}
    manifest = Scribe(WITH_AUDITOR, voting=voting, voters=voters).first
    assert voters_of(manifest, RUN) == set(map(id_of, expected))


@pytest.mark.parametrize(("voters", "most"), [(0, 1), (1, 1), (2, 2), (3, 2), (4, 3), (5, 3)])
def test_a_majority_is_more_than_half(voters: int, most: int):
    assert majority_of([bytes([each]) for each in range(voters)]) == most


def test_who_votes_is_said_only_if_need_be():
    assert not {"voting", "voters"} & set(body_value(unsigned_federation().body))
    body = unsigned_federation(voting=Voting.SERVERS).body
    assert {"voting", "voters"} & set(body_value(body)) == {"voting"}


@pytest.mark.parametrize(
    "voters",
    [
        (RunVoters(run=RUN, voters=(id_of(ALICE), id_of(ALICE))),),
        (RunVoters(run=RUN, voters=tuple(sorted((id_of(ALICE), id_of(BOB)), reverse=True))),),
        (RunVoters(run=RUN, voters=(id_of(ALICE),)),) * 2,
    ],
    ids=["twice", "disorder", "a run twice"],
)
def test_named_voters_stand_in_order_each_once(voters: tuple[RunVoters, ...]):
    scribe = Scribe()
    unsigned = next_version(scribe.first, by=id_of(ADMIN), time=TIME)
    record = parse_record(scribe.sign(replace(unsigned.body, voters=voters), ADMIN))
    with pytest.raises(ManifestError) as caught:
        next_manifest(scribe.first, record, scribe.source)
    assert caught.value.rule is ManifestRule.VOTERS


def test_the_next_version_keeps_who_votes():
    scribe = Scribe(voting=Voting.SERVERS, voters={RUN: [id_of(ALICE)]})
    after = scribe.read_manifest(
        scribe.next_manifest(without_member(scribe.first, id_of(BOB), by=id_of(ADMIN), time=TIME)).cid
    )
    assert (after.voting, after.voters) == (Voting.SERVERS, {RUN: (id_of(ALICE),)})

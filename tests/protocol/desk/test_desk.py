"""An admin's desk: what it tells the other admins and when, and which of their words it looks into."""

from __future__ import annotations

from dataclasses import replace

import pytest
from chains import ADMIN, ALICE, BOB, SERVER, TIME, Blocks, id_of, unsigned_federation

from crypto.keys import SigningKey
from protocol.blocks.cid import CID, cbor_block
from protocol.desk.desk import AWAY, FIRST, LONGEST, MAX_OF_ONE, Desk, LookInto, why_not_taken
from protocol.federation.manifest import MAX_AHEAD, Manifest, first_manifest
from protocol.federation.proposals import Proposal, read_proposal
from protocol.federation.unsigned_versions import next_version
from protocol.records.signed_records import parse_record, sign_record
from protocol.wire.announcements import Announcement, Beat, ManifestRef, PeerState, ProposalReady, Said

SOURCE = Blocks()
BY_ADMIN = {"by": id_of(ADMIN), "time": TIME}


def _first() -> Manifest:
    unsigned = unsigned_federation(admins=map(id_of, (ADMIN, SERVER, ALICE)), threshold=2)
    block = sign_record(unsigned.body, (ADMIN, SERVER, ALICE))
    SOURCE.add(block, *unsigned.blocks)
    return first_manifest(parse_record(block), SOURCE)


MANIFEST = _first()
REF = ManifestRef(MANIFEST.cid, MANIFEST.version)
ONE, OTHER = cbor_block("a proposal").cid, cbor_block("another").cid
SIGNED_ONCE, SIGNED_TWICE = cbor_block("signed once").cid, cbor_block("signed twice").cid
WAITS = ProposalReady(REF, ONE, SIGNED_ONCE)
HERE = ProposalReady(REF, None, None)


def said(body: Said, by: SigningKey = SERVER) -> Announcement:
    return Announcement(MANIFEST.federation, id_of(by), 1, body)


@pytest.fixture
def desk() -> Desk:
    """The desk of an admin, that has said that it is here."""
    made = Desk(id_of(ADMIN))
    made.has(MANIFEST, {}, 0.0)
    assert made.due(0.0) == [HERE]
    return made


def test_a_new_proposal_is_told_at_once_and_then_less_and_less_often(desk: Desk) -> None:
    desk.has(MANIFEST, {ONE: SIGNED_ONCE}, 1.0)
    assert desk.due(1.0) == [WAITS]
    assert WAITS not in desk.due(1.0 + FIRST - 0.1)
    assert WAITS in desk.due(1.0 + FIRST)
    assert WAITS not in desk.due(1.0 + 2 * FIRST)


def test_it_is_told_for_ever_while_it_waits(desk: Desk) -> None:
    desk.has(MANIFEST, {ONE: SIGNED_ONCE}, 0.0)
    for step in range(200):
        desk.due(step * LONGEST)
    assert WAITS in desk.due(200 * LONGEST)


def test_another_signature_is_told_at_once(desk: Desk) -> None:
    desk.has(MANIFEST, {ONE: SIGNED_ONCE}, 1.0)
    desk.due(1.0)
    desk.has(MANIFEST, {ONE: SIGNED_TWICE}, 1.1)
    assert desk.due(1.1) == [replace(WAITS, record=SIGNED_TWICE)]


def test_what_no_longer_waits_is_told_no_more(desk: Desk) -> None:
    desk.has(MANIFEST, {ONE: SIGNED_ONCE}, 1.0)
    desk.has(MANIFEST, {}, 2.0)
    assert desk.due(LONGEST) == [HERE]


def test_an_admin_who_was_away_is_told_everything_soon(desk: Desk) -> None:
    desk.has(MANIFEST, {ONE: SIGNED_ONCE}, 0.0)
    for step in range(100):
        desk.due(step * LONGEST)
    now = 99 * LONGEST + FIRST
    assert desk.heard(said(HERE), now) is None
    assert WAITS in desk.due(now)
    desk.heard(said(HERE), now + AWAY - 1)  # it was here meanwhile
    assert WAITS not in desk.due(now + FIRST - 1)


def test_a_proposal_that_is_not_here_is_looked_into_once(desk: Desk) -> None:
    look = desk.heard(said(WAITS), 1.0)
    assert look == LookInto(id_of(SERVER), WAITS)
    desk.was_true(look)
    assert desk.heard(said(WAITS), 2.0) is None


def test_one_that_did_not_come_is_looked_into_again_later(desk: Desk) -> None:
    look = desk.heard(said(WAITS), 1.0)
    assert look is not None
    desk.was_false(look, 1.0, came=False)
    assert desk.heard(said(WAITS), 1.1) is None
    assert desk.heard(said(WAITS), 2.0) == look


def test_what_is_known_or_rejected_here_is_not_fetched_again(desk: Desk) -> None:
    desk.has(MANIFEST, {ONE: SIGNED_ONCE, OTHER: None}, 1.0)
    assert desk.heard(said(WAITS), 1.0) is None
    assert desk.heard(said(ProposalReady(REF, OTHER, SIGNED_TWICE)), 1.0) is None


def test_more_signatures_are_looked_into_and_ours_told_soon(desk: Desk) -> None:
    desk.has(MANIFEST, {ONE: SIGNED_ONCE}, 0.0)
    desk.heard(said(HERE), 0.0)
    desk.due(0.0)
    theirs = ProposalReady(REF, ONE, SIGNED_TWICE)
    assert desk.heard(said(theirs), FIRST - 1) == LookInto(id_of(SERVER), theirs)
    assert WAITS in desk.due(FIRST)


def test_a_rejection_of_what_waits_here_is_looked_into(desk: Desk) -> None:
    desk.has(MANIFEST, {ONE: SIGNED_ONCE}, 0.0)
    rejects = ProposalReady(REF, ONE, None)
    assert desk.heard(said(rejects), 1.0) == LookInto(id_of(SERVER), rejects)
    assert desk.heard(said(ProposalReady(REF, OTHER, None), ALICE), 1.0) is None


def test_a_member_that_is_no_admin_is_not_listened_to(desk: Desk) -> None:
    assert desk.heard(said(WAITS, BOB), 1.0) is None


def test_any_member_may_name_a_newer_manifest_but_not_one_that_never_ends(desk: Desk) -> None:
    newer = ManifestRef(ONE, MANIFEST.version + 1)
    assert desk.heard(said(Beat(newer, PeerState.IDLE), BOB), 1.0) == LookInto(id_of(BOB), newer)
    absurd = ManifestRef(OTHER, MANIFEST.version + MAX_AHEAD + 1)
    assert desk.heard(said(Beat(absurd, PeerState.IDLE), ALICE), 1.0) is None


def test_a_proposal_by_a_desk_with_an_older_manifest_is_left_alone_and_that_desk_told(desk: Desk) -> None:
    desk.heard(said(HERE), 0.0)
    newer = replace(MANIFEST, cid=OTHER, version=MANIFEST.version + 1)
    desk.has(newer, {}, 1.0)
    desk.due(1.0)
    assert desk.heard(said(WAITS), 1.0 + FIRST - 1) is None
    assert desk.due(1.0 + FIRST) == [ProposalReady(ManifestRef(OTHER, newer.version), None, None)]


def test_an_admin_that_names_proposals_without_end_has_one_fetched_at_a_time(desk: Desk) -> None:
    fetched = []
    for number in range(1000):
        look = desk.heard(said(ProposalReady(REF, _cid(number), _cid(-number - 1))), 1.0)
        fetched += [] if look is None else [look]
    assert len(fetched) == 1
    assert desk.heard(said(ProposalReady(REF, ONE, SIGNED_ONCE), ALICE), 1.0) is not None  # nobody waits for that admin


def test_an_admin_that_proposes_without_end_fills_its_own_places_alone() -> None:
    waiting = [_proposal(ADMIN, threshold) for threshold in range(MAX_OF_ONE)]
    assert "wait already" in why_not_taken(_proposal(ADMIN, 100), waiting)
    assert why_not_taken(_proposal(SERVER, 100), waiting) == ""
    assert why_not_taken(waiting[0], waiting) == ""  # more signatures for one that is here


def _cid(number: int) -> CID:
    return cbor_block(number).cid


def _proposal(signer: SigningKey, number: int) -> Proposal:
    unsigned = next_version(MANIFEST, by=id_of(signer), time=TIME + number)
    block = sign_record(unsigned.body, [signer])
    SOURCE.add(block, *unsigned.blocks)
    return read_proposal(parse_record(block), MANIFEST, SOURCE)

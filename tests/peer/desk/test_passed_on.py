"""Proposals that other admins name: which are kept, what puts them into force, what a hostile admin gains."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest
from other_signatures import signed_otherwise

from crypto.identity import Identity
from peer.base.errors import PeerError
from peer.engine.local.engine import LocalEngine
from peer.home.federations import FederationStore, StoredFederation
from peer.home.home import Home
from peer.home.keystore import KeyStore
from peer.home.reader_choice import reader_of
from peer.membership.changes import OthersMustSign, add_member, change_threshold, found_federation
from peer.membership.passed_on import TakingIn
from peer.membership.proposing import ProposalStore
from protocol.blocks.cid import CID, BlockError
from protocol.desk.desk import MAX_OF_ONE
from protocol.federation.proposals import Proposal, countersigned
from protocol.records.bodies import Role
from protocol.wire.announcements import ManifestRef

ADMINS = [Identity.generate(name) for name in ("one", "two", "three")]
ONE, TWO, THREE = ADMINS

Blocks = dict[CID, bytes]


def founded(title: str = "trial") -> StoredFederation:
    """A federation of three admins, two of whom have to sign."""
    stored = found_federation(
        ONE, name=title, member_name="one", roles=[Role.SERVER], swarm_key=bytes(32), time=0.0, encrypt=True
    )
    for each in (TWO, THREE):
        public = each.public_for(bytes(stored.id))
        stored = add_member(stored, ONE, public, name=each.name, roles=[Role.CLIENT], office=True, time=1.0)
    proposal, blocks = proposed(stored, ONE, 2)
    return stored.advanced(*signed(proposal, blocks, TWO), reader_of(ONE))


def proposed(stored: StoredFederation, by: Identity, count: int, time: float = 2.0) -> tuple[Proposal, Blocks]:
    """A change of the threshold that one admin has signed."""
    with pytest.raises(OthersMustSign) as caught:
        change_threshold(stored.read_by(reader_of(by)), by, count, time=time)
    return caught.value.proposal, dict(caught.value.blocks)


def signed(proposal: Proposal, blocks: Blocks, by: Identity) -> tuple[CID, Blocks]:
    """The same with one more signature."""
    block = countersigned(proposal.record, by.signing_keys)
    return block.cid, {**blocks, block.cid: block.data}


@dataclass
class Desk:
    """The home of the third admin, and what it takes in."""

    home: Home
    taking: TakingIn

    @property
    def stored(self) -> StoredFederation:
        return FederationStore(self.home).current()

    @property
    def waiting(self) -> list[CID]:
        return [each.record.id for each in ProposalStore(self.home, self.stored).all()]


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    home, stored = Home(tmp_path / "home").create(), founded()
    KeyStore(home.path).add(THREE, None)
    FederationStore(home).save(stored)
    return Desk(home, TakingIn(home, stored.id, THREE, LocalEngine(tmp_path / "engine")))


def test_a_proposal_is_kept_and_not_signed(desk: Desk) -> None:
    proposal, blocks = proposed(desk.stored, ONE, 3)
    assert desk.taking.take_proposal(proposal.record.cid, blocks) is None
    (kept,) = ProposalStore(desk.home, desk.stored).all()
    assert kept.record.signers == proposal.record.signers
    assert desk.stored.manifest.version == proposal.base.version


def test_what_enough_admins_have_signed_is_put_into_force(desk: Desk) -> None:
    cid, blocks = signed(*proposed(desk.stored, ONE, 2), TWO)
    newer = desk.taking.take_proposal(cid, blocks)
    assert newer is not None
    assert desk.stored.manifest.cid == newer.manifest.cid == cid
    assert desk.waiting == []


def test_signatures_made_side_by_side_are_put_together(desk: Desk) -> None:
    proposal, blocks = proposed(desk.stored, ONE, 3)
    desk.taking.take_proposal(proposal.record.cid, blocks)
    only_two = Proposal(proposal.record, proposal.base, proposal.next)
    cid, with_two = signed(only_two, blocks, TWO)
    desk.taking.take_proposal(cid, with_two)
    (kept,) = ProposalStore(desk.home, desk.stored).all()
    assert kept.proposal is not None
    assert kept.proposal.lacking == 1


def test_the_same_signed_again_in_another_way_is_nothing_new(desk: Desk) -> None:
    proposal, blocks = proposed(desk.stored, ONE, 3)
    desk.taking.take_proposal(proposal.record.cid, blocks)
    other = signed_otherwise(proposal.record, ONE.signing, bytes(32))
    desk.taking.take_proposal(other.cid, {**blocks, other.cid: other.data})
    (kept,) = ProposalStore(desk.home, desk.stored).all()
    assert kept.record.cid == proposal.record.cid, "each way would be kept by every desk, and told to all others"


def test_a_newer_manifest_that_another_admin_has_is_taken_in(desk: Desk) -> None:
    cid, blocks = signed(*proposed(desk.stored, ONE, 2), TWO)
    assert desk.taking.take_manifest(ManifestRef(cid, desk.stored.manifest.version + 1), blocks)
    assert desk.stored.manifest.cid == cid


def test_a_version_that_too_few_admins_signed_is_no_newer_manifest(desk: Desk) -> None:
    proposal, blocks = proposed(desk.stored, ONE, 2)
    before = desk.stored.manifest.cid
    with pytest.raises(BlockError):
        desk.taking.take_manifest(ManifestRef(proposal.record.cid, proposal.next.version), blocks)
    assert desk.stored.manifest.cid == before


def test_a_flood_of_one_admin_leaves_room_for_the_others(desk: Desk) -> None:
    for number in range(MAX_OF_ONE):
        proposal, blocks = proposed(desk.stored, ONE, 3, time=float(number))
        desk.taking.take_proposal(proposal.record.cid, blocks)
    one_more, blocks = proposed(desk.stored, ONE, 3, time=100.0)
    with pytest.raises(PeerError, match="wait already"):
        desk.taking.take_proposal(one_more.record.cid, blocks)
    anothers, blocks = proposed(desk.stored, TWO, 3)
    desk.taking.take_proposal(anothers.record.cid, blocks)
    assert len(desk.waiting) == MAX_OF_ONE + 1


def test_an_old_proposal_that_is_sent_again_is_not_kept(desk: Desk) -> None:
    old, old_blocks = proposed(desk.stored, ONE, 3)
    desk.taking.take_proposal(*signed(*proposed(desk.stored, ONE, 2), TWO))
    with pytest.raises(PeerError, match="not taken"):
        desk.taking.take_proposal(old.record.cid, old_blocks)
    assert desk.waiting == []


def test_a_proposal_for_another_federation_is_not_kept(desk: Desk) -> None:
    other = founded("other")
    proposal, blocks = proposed(other, ONE, 3)
    with pytest.raises(PeerError, match="not taken"):
        desk.taking.take_proposal(proposal.record.cid, {**other.blocks, **blocks})
    assert desk.waiting == []


def test_what_its_owner_rejected_does_not_come_back(desk: Desk) -> None:
    proposal, blocks = proposed(desk.stored, ONE, 3)
    desk.taking.take_proposal(proposal.record.cid, blocks)
    ProposalStore(desk.home, desk.stored).note_rejection(proposal.record, THREE.id, own=True)
    desk.taking.take_proposal(*signed(proposal, blocks, TWO))
    assert desk.waiting == []
    assert list(ProposalStore(desk.home, desk.stored).rejected(THREE.id)) == [proposal.id]


def test_that_another_admin_rejects_it_is_kept_with_it(desk: Desk) -> None:
    proposal, blocks = proposed(desk.stored, ONE, 3)
    desk.taking.take_proposal(proposal.record.cid, blocks)
    desk.taking.note_rejection(proposal.id, TWO.id)
    (kept,) = ProposalStore(desk.home, desk.stored).all()
    assert kept.rejected_by == {TWO.id}


def test_what_is_outdated_is_tidied_away_but_for_what_its_owner_signed(desk: Desk) -> None:
    anothers, blocks = proposed(desk.stored, ONE, 3)
    desk.taking.take_proposal(anothers.record.cid, blocks)
    own, blocks = proposed(desk.stored, THREE, 3)
    ProposalStore(desk.home, desk.stored).keep(own.record.cid, blocks)
    desk.taking.take_proposal(*signed(*proposed(desk.stored, ONE, 2, time=5.0), TWO))
    ProposalStore(desk.home, desk.stored).tidy(key.verify_key.raw for key in THREE.signing_keys)
    assert desk.waiting == [own.id]

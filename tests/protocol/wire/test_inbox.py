"""What passes the inbox, what does not, and why."""

from __future__ import annotations

from dataclasses import replace

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crypto.identity import sign_first_keys
from crypto.keys import SigningKey
from protocol.blocks.cid import cbor_block
from protocol.federation.manifest import Manifest, first_manifest
from protocol.federation.unsigned_versions import new_federation
from protocol.records.bodies import EncryptionKeyText, Member, Role
from protocol.records.signed_records import parse_record, sign_record
from protocol.wire.announcement_seals import AnnouncementSeals
from protocol.wire.announcements import Announcement, Bye, Drop, sign_announcement
from protocol.wire.inbox import BURST, RATE, WINDOW, Inbox

ALICE, BOB, EVE = (SigningKey.from_seed(bytes([n]) * 32) for n in range(1, 4))


def member(key: SigningKey) -> Member:
    encryption = EncryptionKeyText(suite="any", key=b"any")
    id, proof = key.verify_key.raw, sign_first_keys(key, "any", b"any", ALICE.verify_key.raw)
    return Member(id=id, signing=id, encryption=encryption, roles=(Role.CLIENT,), proof=proof)


def admit(*keys: SigningKey) -> Manifest:
    admin = ALICE.verify_key.raw
    names = {key.verify_key.raw: f"member {number}" for number, key in enumerate(keys)}
    unsigned = new_federation(
        name="trial",
        admins=[admin],
        members=[member(key) for key in keys],
        names=names,
        by=admin,
        time=0.0,
    )
    return first_manifest(parse_record(sign_record(unsigned.body, [ALICE])), source={})  # no blocks but its own


MANIFEST = admit(ALICE, BOB)
FEDERATION = MANIFEST.federation


def said(counter: int, key: SigningKey = ALICE) -> Announcement:
    return Announcement(FEDERATION, key.verify_key.raw, counter, Bye())


def wire(counter: int, key: SigningKey = ALICE) -> bytes:
    return sign_announcement(said(counter, key), key)


@pytest.fixture
def inbox() -> Inbox:
    return Inbox(FEDERATION, AnnouncementSeals(MANIFEST, {}))


def test_a_members_announcement_passes_once(inbox):
    assert inbox.accept(wire(5), MANIFEST, 0) == said(5)
    assert inbox.accept(wire(5), MANIFEST, 0) is Drop.REPLAYED


def test_garbage_is_counted_by_reason(inbox):
    assert inbox.accept(b"garbage", MANIFEST, 0) is Drop.MALFORMED
    assert inbox.accept(bytes(1 << 20), MANIFEST, 0) is Drop.TOO_LARGE
    assert inbox.dropped == {Drop.MALFORMED: 1, Drop.TOO_LARGE: 1}


def test_another_federation_is_another_matter(inbox):
    other = replace(said(1), federation=cbor_block("another").cid)
    assert inbox.accept(sign_announcement(other, ALICE), MANIFEST, 0) is Drop.WRONG_FEDERATION


def test_a_stranger_is_dropped(inbox):
    assert inbox.accept(wire(1, EVE), MANIFEST, 0) is Drop.STRANGER


def test_a_member_cannot_speak_for_another(inbox):
    assert inbox.accept(sign_announcement(said(1, ALICE), BOB), MANIFEST, 0) is Drop.STRANGER


def forged(counter: int) -> bytes:
    payload, key, signature = msgpack.unpackb(wire(counter))
    return msgpack.packb([payload, key, bytes([signature[0] ^ 1]) + signature[1:]])


def test_a_wrong_signature_is_dropped(inbox):
    assert inbox.accept(forged(1), MANIFEST, 0) is Drop.BAD_SIGNATURE


def test_forgeries_use_up_neither_a_members_counters_nor_its_rate(inbox):
    for counter in range(BURST + 1):
        inbox.accept(forged(counter), MANIFEST, 0)
    assert inbox.accept(wire(1), MANIFEST, 0) == said(1)


@given(st.permutations(range(WINDOW - 8, WINDOW + 8)))
def test_any_order_within_the_window_passes(counters):
    inbox = Inbox(FEDERATION, AnnouncementSeals(MANIFEST, {}))
    assert [inbox.accept(wire(counter), MANIFEST, 0) for counter in counters] == [said(counter) for counter in counters]
    assert {inbox.accept(wire(counter), MANIFEST, 0) for counter in counters} == {Drop.REPLAYED}


def test_the_window_is_as_long_as_it_says(inbox):
    inbox.accept(wire(WINDOW), MANIFEST, 0)
    assert inbox.accept(wire(0), MANIFEST, 0) is Drop.REPLAYED
    assert inbox.accept(wire(1), MANIFEST, 0) == said(1)


def test_a_counter_may_jump_to_the_very_end(inbox):
    inbox.accept(wire(1), MANIFEST, 0)
    assert inbox.accept(wire(2**63 - 1), MANIFEST, 0) == said(2**63 - 1)


def test_authors_do_not_share_counters(inbox):
    inbox.accept(wire(5, ALICE), MANIFEST, 0)
    assert inbox.accept(wire(5, BOB), MANIFEST, 0) == said(5, BOB)


def test_a_flood_is_cut_to_the_rate_and_leaves_others_alone(inbox):
    flood = [inbox.accept(wire(counter), MANIFEST, 0) for counter in range(BURST + 5)]
    assert flood[BURST:] == [Drop.RATE_LIMITED] * 5
    assert inbox.accept(wire(1, BOB), MANIFEST, 0) == said(1, BOB)
    assert inbox.accept(wire(BURST + 1), MANIFEST, 2 / RATE) == said(BURST + 1)


def test_what_was_cut_may_be_sent_again(inbox):
    for counter in range(BURST + 1):
        inbox.accept(wire(counter), MANIFEST, 0)
    assert inbox.accept(wire(BURST), MANIFEST, 1) == said(BURST)


def test_a_member_that_left_is_a_stranger_and_forgotten(inbox):
    inbox.accept(wire(5, BOB), MANIFEST, 0)
    assert inbox.accept(wire(6, BOB), admit(ALICE), 0) is Drop.STRANGER
    assert inbox.accept(wire(5, BOB), MANIFEST, 0) == said(5, BOB)

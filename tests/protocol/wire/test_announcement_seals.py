"""Who opens which announcement of a federation that encrypts, and that everybody else finds nothing in it."""

from __future__ import annotations

from dataclasses import replace

import msgpack
import pytest
from chains import (
    ADMIN,
    ALICE,
    BOB,
    CAROL,
    MEMBERS,
    SERVER,
    TIME,
    Blocks,
    decryption_key,
    id_of,
    member,
    reader_of,
    unsigned_federation,
)
from hypothesis import given
from hypothesis import strategies as st

from crypto.keys import DecryptionKey, SigningKey
from crypto.symmetric import SymmetricKey
from protocol.federation.manifest import Manifest, manifest_at
from protocol.federation.readers import Reader
from protocol.federation.unsigned_versions import UnsignedVersion, with_member, without_member
from protocol.records.bodies import EncryptionKeyText, Role
from protocol.records.signed_records import sign_record
from protocol.wire.announcement_seals import BURST, OPENINGS, TAG_SIZE, AnnouncementSeals
from protocol.wire.announcements import MAX_ANNOUNCEMENT, Announcement, AnnouncementError, Bye, Drop, sign_announcement
from protocol.wire.inbox import Inbox

BY_ADMIN = {"by": id_of(ADMIN), "time": TIME}
SOURCE = Blocks()


def version(unsigned: UnsignedVersion, reader: Reader, before: Manifest | None = None) -> Manifest:
    block = sign_record(unsigned.body, [ADMIN])
    SOURCE.add(block, *unsigned.blocks)
    return manifest_at(block.cid, before.federation if before else block.cid, SOURCE, before, reader)


def read_by(signer: SigningKey, manifest: Manifest) -> Manifest:
    return manifest_at(manifest.cid, manifest.federation, SOURCE, reader=reader_of(signer))


FIRST = version(unsigned_federation(key=SymmetricKey.generate()), reader_of(SERVER))
WITHOUT_BOB = version(without_member(FIRST, id_of(BOB), **BY_ADMIN), reader_of(SERVER), FIRST)
WITHOUT_CAROL = version(without_member(WITHOUT_BOB, id_of(CAROL), **BY_ADMIN), reader_of(SERVER), WITHOUT_BOB)
PLAIN = version(unsigned_federation(), Reader())


def seals_of(signer: SigningKey, manifest: Manifest = FIRST) -> AnnouncementSeals:
    return AnnouncementSeals(read_by(signer, manifest), SOURCE, reader_of(signer))


def said(counter: int = 1) -> Announcement:
    return Announcement(FIRST.federation, id_of(SERVER), counter, Bye("a note"))


SIGNED = sign_announcement(said(), SERVER)
SEALED = seals_of(SERVER).seal(SIGNED)
FOR_ALICE = seals_of(SERVER).seal_for(MEMBERS["alice"], SIGNED)


def dropped(seals: AnnouncementSeals, data: bytes) -> Drop:
    with pytest.raises(AnnouncementError) as caught:
        seals.open(data, 0)
    return caught.value.reason


def inbox_of(signer: SigningKey, manifest: Manifest = FIRST) -> Inbox:
    return Inbox(manifest.federation, seals_of(signer, manifest))


# -- for all members -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("reader", [SERVER, ALICE, BOB, CAROL])
def test_every_member_opens_what_is_sealed_for_all(reader):
    assert seals_of(reader).open(SEALED, 0) == SIGNED


def test_neither_author_nor_federation_nor_text_shows():
    for secret in (id_of(SERVER), bytes(FIRST.federation), b"a note"):
        assert secret in SIGNED
        assert secret not in SEALED


def test_two_announcements_have_the_tag_in_common_and_nothing_else():
    other = seals_of(SERVER).seal(sign_announcement(said(2), SERVER))
    assert msgpack.unpackb(other)[0] == msgpack.unpackb(SEALED)[0]
    assert msgpack.unpackb(other)[1][:12] != msgpack.unpackb(SEALED)[1][:12]


def test_a_member_that_left_does_not_open_what_comes_after():
    assert dropped(seals_of(BOB), seals_of(SERVER, WITHOUT_BOB).seal(SIGNED)) is Drop.UNREADABLE


def test_a_member_that_left_is_a_stranger_though_what_it_sends_is_opened():
    wire = seals_of(BOB).seal(sign_announcement(Announcement(FIRST.federation, id_of(BOB), 1, Bye()), BOB))
    assert inbox_of(SERVER, WITHOUT_BOB).accept(wire, WITHOUT_BOB, 0) is Drop.STRANGER


def test_a_member_that_left_is_opened_a_second_time_only_at_a_rate(monkeypatch):
    """To be told once that it left; it may send as much as it likes."""
    wire = seals_of(BOB).seal(sign_announcement(Announcement(FIRST.federation, id_of(BOB), 1, Bye()), BOB))
    seals = seals_of(SERVER, WITHOUT_BOB)
    opened = []
    monkeypatch.setattr(seals, "open", lambda data, now: opened.append(data) or SIGNED)
    for _ in range(BURST + 50):
        seals.former_author(wire, 0)
    assert len(opened) == BURST
    seals.former_author(wire, 1 / OPENINGS)
    assert len(opened) == BURST + 1


def test_a_member_that_was_away_is_still_heard():
    assert seals_of(SERVER, WITHOUT_CAROL).open(seals_of(ALICE).seal(SIGNED), 0) == SIGNED


def test_a_newer_key_is_used_from_when_it_is_learned_and_those_between_open():
    alice = seals_of(ALICE)
    alice.learn(read_by(ALICE, WITHOUT_CAROL), SOURCE)
    for manifest in (FIRST, WITHOUT_BOB, WITHOUT_CAROL):
        assert alice.open(seals_of(SERVER, manifest).seal(SIGNED), 0) == SIGNED
    assert alice.seal(SIGNED) == seals_of(SERVER, WITHOUT_CAROL).seal(SIGNED)


def test_only_the_newest_keys_are_kept(monkeypatch):
    monkeypatch.setattr("protocol.wire.announcement_seals.MAX_KEYS", 2)
    server = seals_of(SERVER, WITHOUT_CAROL)
    assert dropped(server, seals_of(ALICE).seal(SIGNED)) is Drop.UNREADABLE
    assert server.open(seals_of(ALICE, WITHOUT_BOB).seal(SIGNED), 0) == SIGNED


def test_a_newcomer_opens_what_comes_after_it_and_nothing_before_another_left():
    dave = SigningKey.from_seed(bytes(32))
    with_dave = version(
        with_member(WITHOUT_BOB, member(dave, Role.CLIENT, place=FIRST.federation), "dave", **BY_ADMIN),
        reader_of(SERVER),
        WITHOUT_BOB,
    )
    seals = seals_of(dave, with_dave)
    assert seals.open(seals_of(SERVER, with_dave).seal(SIGNED), 0) == SIGNED
    assert dropped(seals, SEALED) is Drop.UNREADABLE


# -- for one member --------------------------------------------------------------------------------------------------


def test_a_member_opens_what_is_sealed_to_it_alone_and_no_other_does():
    assert seals_of(ALICE).open(FOR_ALICE, 0) == SIGNED
    assert dropped(seals_of(BOB), FOR_ALICE) is Drop.UNREADABLE


def test_what_is_sealed_to_one_member_shows_neither_author_nor_reader():
    for secret in (id_of(SERVER), id_of(ALICE), MEMBERS["alice"].encryption.key[:32], b"a note"):
        assert secret not in FOR_ALICE


def test_a_member_that_rotated_its_keys_opens_what_is_sealed_to_any_of_them():
    newer = DecryptionKey.generate()
    rotated = Reader(id_of(ALICE), [newer, decryption_key(ALICE)])
    assert AnnouncementSeals(read_by(ALICE, FIRST), SOURCE, rotated).open(FOR_ALICE, 0) == SIGNED


def test_keys_made_while_a_peer_runs_open_at_once():
    newer, reader = DecryptionKey.generate(), reader_of(ALICE)
    alice = replace(
        MEMBERS["alice"], encryption=EncryptionKeyText(suite=newer.public.suite.value, key=newer.public.raw)
    )
    wire = seals_of(SERVER).seal_for(alice, SIGNED)
    seals = AnnouncementSeals(read_by(ALICE, FIRST), SOURCE, reader)
    assert dropped(seals, wire) is Drop.UNREADABLE
    reader.learn([newer, decryption_key(ALICE)])
    assert seals.open(wire, 0) == SIGNED


def test_no_more_are_opened_that_are_sealed_to_one_member_than_the_limit():
    seals = seals_of(ALICE)
    forged = FOR_ALICE[:-1] + bytes([FOR_ALICE[-1] ^ 1])
    assert {dropped(seals, forged) for _ in range(BURST)} == {Drop.UNREADABLE}
    assert dropped(seals, FOR_ALICE) is Drop.RATE_LIMITED
    assert seals.open(SEALED, 0) == SIGNED
    assert seals.open(FOR_ALICE, 1 / OPENINGS) == SIGNED


# -- what is not ours ------------------------------------------------------------------------------------------------


def test_what_is_in_the_clear_is_dropped_if_the_federation_encrypts():
    assert dropped(seals_of(ALICE), SIGNED) is Drop.UNSEALED


def test_what_is_sealed_is_dropped_if_the_federation_does_not_encrypt():
    assert dropped(AnnouncementSeals(PLAIN, SOURCE), SEALED) is Drop.UNREADABLE


def test_a_federation_that_does_not_encrypt_speaks_in_the_clear():
    assert AnnouncementSeals(PLAIN, SOURCE).seal(SIGNED) == SIGNED
    assert AnnouncementSeals(PLAIN, SOURCE).open(SIGNED, 0) == SIGNED


def test_a_sealed_announcement_passes_the_inbox_once():
    inbox = inbox_of(ALICE)
    assert inbox.accept(SEALED, FIRST, 0) == said()
    assert inbox.accept(SEALED, FIRST, 0) is Drop.REPLAYED


def test_it_is_one_announcement_however_it_is_sealed():
    inbox = inbox_of(ALICE)
    assert inbox.accept(FOR_ALICE, FIRST, 0) == said()
    assert inbox.accept(SEALED, FIRST, 0) is Drop.REPLAYED


def test_no_seal_inside_a_seal():
    assert inbox_of(ALICE).accept(seals_of(SERVER).seal(SEALED), FIRST, 0) is Drop.MALFORMED


def test_too_large_is_told_before_anything_is_opened():
    assert dropped(seals_of(ALICE), msgpack.packb([SEALED[2:10], bytes(MAX_ANNOUNCEMENT)])) is Drop.TOO_LARGE


@pytest.mark.parametrize("wire", [SEALED, FOR_ALICE], ids=["for all", "for one"])
def test_each_bit_that_is_changed_has_it_dropped(wire):
    inbox = inbox_of(ALICE)
    for place in range(len(wire)):
        changed = wire[:place] + bytes([wire[place] ^ 1 << place % 8]) + wire[place + 1 :]
        assert isinstance(inbox.accept(changed, FIRST, place / OPENINGS), Drop)
    assert inbox.accept(wire, FIRST, len(wire)) == said()


@given(st.binary(max_size=200) | st.binary(max_size=99).map(lambda data: msgpack.packb([data[:TAG_SIZE], data])))
def test_no_bytes_raise_anything_but_an_announcement_error(data):
    assert dropped(ALICES, data) in (Drop.MALFORMED, Drop.UNREADABLE, Drop.UNSEALED)


ALICES = seals_of(ALICE)


@pytest.mark.parametrize(
    "wire",
    [
        [],
        [b"too short", b""],
        [b"8 bytes.", b"", b"more"],
        ["8 bytes.", b""],
        [b"8 bytes.", [b""]],
        {b"8 bytes.": b""},
    ],
    ids=str,
)
def test_another_shape_is_dropped(wire):
    assert dropped(seals_of(ALICE), msgpack.packb(wire)) in (Drop.MALFORMED, Drop.UNSEALED)


def test_there_is_one_way_to_write_it():
    tag, sealed = msgpack.unpackb(SEALED)
    longer = b"\x92\xc4\x08" + tag + b"\xc6" + len(sealed).to_bytes(4, "big") + sealed
    assert msgpack.unpackb(longer) == [tag, sealed]
    assert dropped(seals_of(ALICE), longer) is Drop.MALFORMED


def test_deep_nesting_is_malformed():
    assert dropped(seals_of(ALICE), b"\x92" * 400_000) is Drop.MALFORMED

"""What an announcement says on the wire, and that no bytes do harm."""

from __future__ import annotations

import tracemalloc

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crypto.keys import SigningKey
from protocol.blocks.cid import cbor_block, raw_block
from protocol.wire.announcements import (
    INLINE_BUDGET,
    MAX_ADDRESS,
    MAX_ADDRESSES,
    MAX_ANNOUNCEMENT,
    MAX_BLOCKS,
    MAX_NOTE,
    PROOF_BUDGET,
    Announcement,
    AnnouncementError,
    Beat,
    Bye,
    Drop,
    Head,
    Hello,
    ManifestRef,
    PeerState,
    Position,
    Proof,
    ReplyReady,
    beat_interval,
    first_counter,
    fit_blocks,
    parse_announcement,
    sign_announcement,
    topic_all,
    topic_leader,
)

KEY = SigningKey.from_seed(bytes(range(32)))
ME = KEY.verify_key.raw
FEDERATION = cbor_block("federation").cid
MANIFEST = ManifestRef(cbor_block("manifest").cid, 3)
POSITION = Position(run=cbor_block("run").cid, head=cbor_block("head").cid, height=7, term=1)

cids = st.binary(max_size=8).map(lambda data: raw_block(data).cid)
naturals = st.integers(0, 2**63 - 1)
notes = st.text(max_size=MAX_NOTE)
positions = st.builds(Position, cids, cids, naturals, naturals)
manifests = st.builds(ManifestRef, cids, naturals)
states = st.sampled_from(PeerState)
alone = st.one_of(
    st.builds(Hello, manifests, states, st.none() | positions, notes),
    st.builds(Beat, manifests, states, st.none() | positions, notes),
    st.builds(Bye, notes),
)
with_blocks = st.builds(Head, positions) | st.builds(ReplyReady, cids, st.binary(min_size=32, max_size=32), cids)
blocks = st.lists(st.integers().map(lambda n: cbor_block(n % 2**60)), max_size=3).map(tuple)
addresses = st.lists(st.text(max_size=MAX_ADDRESS), max_size=MAX_ADDRESSES).map(tuple)
of_somebody = (cids, st.binary(min_size=32, max_size=32), naturals)
announcements = st.one_of(
    st.builds(Announcement, *of_somebody, alone, addresses),
    st.builds(Announcement, *of_somebody, with_blocks, addresses, blocks),
)


def head(**changed: object) -> Announcement:
    return Announcement(**{"federation": FEDERATION, "by": ME, "counter": 1, "body": Head(POSITION)} | changed)


def signed_bytes(payload: object) -> bytes:
    """An announcement whose payload is anything at all."""
    return msgpack.packb([payload if isinstance(payload, bytes) else msgpack.packb(payload), ME, bytes(64)])


def payload_of(announcement: Announcement) -> dict:
    return msgpack.unpackb(msgpack.unpackb(sign_announcement(announcement, KEY))[0])


def reason(data: bytes) -> Drop:
    with pytest.raises(AnnouncementError) as caught:
        parse_announcement(data)
    return caught.value.reason


@given(announcements)
def test_what_is_signed_parses_to_itself(announcement):
    parsed = parse_announcement(sign_announcement(announcement, KEY))
    assert parsed.announcement == announcement
    assert parsed.envelope.key == ME


@given(st.binary(max_size=300))
def test_no_bytes_raise_anything_but_an_announcement_error(data):
    assert reason(data) is Drop.MALFORMED


@given(
    st.recursive(st.none() | st.integers(0, 9) | st.binary(max_size=40) | st.text(max_size=9), st.lists, max_leaves=9)
)
def test_no_payload_raises_anything_but_an_announcement_error(payload):
    assert reason(signed_bytes(payload)) is Drop.MALFORMED


@given(announcements, st.data())
def test_a_changed_bit_is_never_read_as_the_same_payload(announcement, data):
    wire = bytearray(sign_announcement(announcement, KEY))
    before = parse_announcement(bytes(wire))
    wire[data.draw(st.integers(0, len(wire) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    try:
        after = parse_announcement(bytes(wire))
    except AnnouncementError:
        return
    assert after.envelope != before.envelope


def test_too_large_is_told_before_it_is_read():
    assert reason(bytes(MAX_ANNOUNCEMENT + 1)) is Drop.TOO_LARGE


@pytest.mark.parametrize(
    "opener", [b"\x91", b"\xdc\xff\xff", b"\xdd\x7f\xff\xff\xff", b"\x81\xa1x", b"\xdf\x7f\xff\xff\xff\xa1x"]
)
@pytest.mark.parametrize("where", ["envelope", "payload", "body"])
def test_deep_nesting_is_malformed_and_takes_little_memory(opener, where):
    bomb = opener * (MAX_ANNOUNCEMENT // len(opener) - 400)
    if where == "body":
        whole = msgpack.packb(payload_of(head()))
        start = whole.index(b"\xa4body") + 5
        bomb = whole[:start] + bomb
    data = bomb if where == "envelope" else signed_bytes(bomb)
    tracemalloc.start()
    assert reason(data) is Drop.MALFORMED
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 * MAX_ANNOUNCEMENT


def test_a_wide_body_takes_little_memory():
    payload = payload_of(head()) | {"body": {"position": {"run": [[]] * 200_000}}}
    data = signed_bytes(payload)
    tracemalloc.start()
    assert reason(data) is Drop.MALFORMED
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 * MAX_ANNOUNCEMENT


@pytest.mark.parametrize(
    "changed",
    [
        {"more": 1},
        {"federation": b"short"},
        {"federation": bytes(36)},
        {"by": bytes(31)},
        {"kind": "party"},
        {"kind": "bye"},
        {"counter": -1},
        {"counter": 2**63},
        {"counter": 1.0},
        {"addresses": ["a"] * (MAX_ADDRESSES + 1)},
        {"addresses": ["a" * (MAX_ADDRESS + 1)]},
        {"blocks": [b""] * (MAX_BLOCKS + 1)},
        {"blocks": [["nested"]]},
        {"body": {}},
        {"body": {"position": None}},
    ],
    ids=lambda changed: f"{changed}"[:40],
)
def test_a_payload_of_another_shape_is_malformed(changed):
    assert reason(signed_bytes(payload_of(head()) | changed)) is Drop.MALFORMED


def test_there_is_one_way_to_write_an_announcement():
    payload = payload_of(head())
    backwards = dict(reversed(payload.items()))
    assert backwards == payload
    assert reason(signed_bytes(backwards)) is Drop.MALFORMED


@pytest.mark.parametrize("nesting", ["[]", "[p,k]", "[p,k,s,x]", "{}"])
def test_an_envelope_of_another_shape_is_malformed(nesting):
    envelope = {"[]": [], "[p,k]": [b"", ME], "[p,k,s,x]": [b"", ME, bytes(64), 1], "{}": {}}[nesting]
    assert reason(msgpack.packb(envelope)) is Drop.MALFORMED


def test_bytes_after_the_envelope_are_malformed():
    assert reason(sign_announcement(head(), KEY) + b"\0") is Drop.MALFORMED


def test_inline_blocks_arrive_under_the_cid_their_bytes_have():
    block = cbor_block({"record": 1})
    assert parse_announcement(sign_announcement(head(blocks=(block,)), KEY)).announcement.blocks == (block,)


def test_what_does_not_fit_is_left_out_and_the_rest_is_sent():
    large, small = cbor_block(bytes(INLINE_BUDGET)), cbor_block(1)
    parsed = parse_announcement(
        sign_announcement(head(blocks=(large, small), addresses=("a" * (MAX_ADDRESS + 1), *"b" * 99)), KEY)
    ).announcement
    assert parsed.blocks == (small,)
    assert parsed.addresses == ("b",) * MAX_ADDRESSES


def test_a_long_note_is_cut():
    said = head(body=Bye("x" * (MAX_NOTE + 1)))
    assert parse_announcement(sign_announcement(said, KEY)).announcement.body == Bye("x" * MAX_NOTE)


MORE_BLOCKS_THAN_ITS_KIND_NEEDS = {
    "a bye with one": (Bye(), [cbor_block(1)]),
    "a beat with one": (Beat(MANIFEST, PeerState.IDLE), [cbor_block(1)]),
    "a proof with three": (Proof(cbor_block(1).cid, cbor_block(2).cid), [cbor_block(n) for n in range(3)]),
    "a proof with larger ones": (Proof(cbor_block(1).cid, cbor_block(2).cid), [cbor_block(bytes(PROOF_BUDGET))]),
    "a head with larger ones": (Head(POSITION), [cbor_block(bytes(INLINE_BUDGET))]),
}


@pytest.mark.parametrize("kind", MORE_BLOCKS_THAN_ITS_KIND_NEEDS)
def test_more_blocks_than_its_kind_needs_are_malformed(kind):
    body, carried = MORE_BLOCKS_THAN_ITS_KIND_NEEDS[kind]
    payload = msgpack.unpackb(parse_announcement(sign_announcement(head(body=body), KEY)).envelope.payload)
    assert reason(signed_bytes(payload | {"blocks": [block.data for block in carried]})) is Drop.MALFORMED
    assert parse_announcement(signed_bytes(payload)).announcement.body == body


@given(st.lists(st.integers(0, 50), max_size=100), st.integers(0, 1000))
def test_fitting_blocks_keep_their_order_and_stay_within_the_budget(sizes, budget):
    offered = [cbor_block(bytes(size)) for size in sizes]
    fitting = fit_blocks(offered, budget)
    assert sum(len(block.data) for block in fitting) <= budget
    assert len(fitting) <= MAX_BLOCKS
    remaining = iter(offered)
    assert all(block in remaining for block in fitting)


def test_no_more_blocks_are_fitted_than_a_reader_takes():
    assert len(fit_blocks([cbor_block(n) for n in range(MAX_BLOCKS + 1)], budget=MAX_ANNOUNCEMENT)) == MAX_BLOCKS


def test_the_largest_announcement_that_can_be_signed_is_within_the_limit():
    wide = head(
        addresses=("\U0001f33b" * MAX_ADDRESS,) * MAX_ADDRESSES,
        blocks=tuple(cbor_block(bytes([n]) * (INLINE_BUDGET // MAX_BLOCKS - 3)) for n in range(MAX_BLOCKS)),
    )
    assert len(parse_announcement(sign_announcement(wide, KEY)).announcement.blocks) == MAX_BLOCKS


def test_the_leader_listens_to_a_topic_of_its_own():
    assert topic_all(FEDERATION) != topic_leader(FEDERATION)
    assert topic_all(FEDERATION) != topic_all(cbor_block("another").cid)


def test_a_federation_of_any_size_beats_at_most_twenty_times_a_second():
    assert beat_interval(3) == 2.0
    assert all(members / beat_interval(members) <= 20 for members in range(1, 5000))


def test_a_process_started_later_counts_from_higher():
    assert first_counter(2) - first_counter(1) > 100 * 3600 * 24 * 365  # a hundred a second, for a year
    assert first_counter(2**30) < 2**63

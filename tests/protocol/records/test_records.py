"""Record blocks: what is signed, what parses, and what does not."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest
from chains import (
    ADMIN,
    ALICE,
    ANSWER,
    BOB,
    CONTENT,
    ENVIRONMENT,
    MEMBERS,
    SECOND,
    SERVER,
    TIME,
    Blocks,
    Scribe,
    begun,
    block_of,
    id_of,
    key,
    unsigned_federation,
)
from hypothesis import given
from hypothesis import strategies as st

from crypto.dsse import BadSignature, verify
from crypto.keys import SigningKey
from crypto.remembered import Remembered
from protocol.blocks.cid import (
    MAX_BLOCK_SIZE,
    Block,
    BlockError,
    BlockMismatch,
    MissingBlock,
    cbor_block,
    checked_block,
    encode_cbor,
)
from protocol.blocks.listing import Listing
from protocol.chain.chain import Chain
from protocol.chain.rules import BrokenRule
from protocol.federation.epochs import grant
from protocol.federation.run_keys import read_private
from protocol.records.bodies import (
    BODIES,
    MAX_ADMINS,
    Ack,
    Body,
    DispatchPrivate,
    Erasure,
    Look,
    ReasonPrivate,
    RecordType,
    Run,
    RunPrivate,
)
from protocol.records.signed_records import (
    RECORD_TYPE,
    RecordError,
    answers,
    assemble,
    body_value,
    parse_record,
    private_bytes,
    sign_record,
    typed_items,
)


def a_body_of_each_type() -> dict[RecordType, tuple[Body, SigningKey]]:
    start = Scribe()
    scribe, sealed = begun(), begun(encrypted=True)
    assert sealed.epoch is not None
    given = grant(sealed.chain.run, sealed.epoch, sealed.manifest, MEMBERS["carol"], by=id_of(SERVER), time=TIME)
    ack = Ack(
        by=id_of(ALICE), time=TIME, run=scribe.chain.run, term=1, height=1, head=CONTENT, replies=scribe.pack([ANSWER])
    )
    erasure = Erasure(by=id_of(ALICE), time=TIME, manifest=CONTENT, version=3, destroyed=True, key="a KEY")
    bodies: list[tuple[Body, SigningKey]] = [
        (unsigned_federation().body, ADMIN),
        (start.run(), SERVER),
        (scribe.dispatch(looks=scribe.pack([scribe.look(ALICE, BOB)]), empties=2), SERVER),
        (scribe.reply_body(ALICE), ALICE),
        (scribe.collect(scribe.taken(ALICE), scribe.error(BOB, refused=scribe.taken(BOB).reply)), SERVER),
        (scribe.roster(scribe.with_dave().cid), SERVER),
        (scribe.environment(ENVIRONMENT), SERVER),
        (scribe.index(), SERVER),
        (scribe.close(), SERVER),
        (sealed.keys().body, SERVER),
        (given, SERVER),
        (ack, ALICE),
        (erasure, ALICE),
        (scribe.takeover(), SECOND),
        (scribe.vote(ALICE), ALICE),
        (scribe.warrant(), ADMIN),
    ]
    return {body.TYPE: (body, signer) for body, signer in bodies}


EACH = a_body_of_each_type()
RECORDS = {kind: sign_record(body, [signer]) for kind, (body, signer) in EACH.items()}
CLOSE = EACH[RecordType.CLOSE][0]


def test_every_type_is_tested():
    assert set(EACH) == set(RecordType) == set(BODIES)


@pytest.mark.parametrize("kind", RecordType)
def test_a_signed_record_parses_to_its_body(kind: RecordType):
    body, signer = EACH[kind]
    record = parse_record(RECORDS[kind])
    assert record.body == body
    assert record.signers == (id_of(signer),)
    record.check_signatures()


@pytest.mark.parametrize("kind", RecordType)
def test_the_signature_is_over_the_encoding_of_the_body(kind: RecordType):
    body, signer = EACH[kind]
    record = parse_record(RECORDS[kind])
    assert record.body_bytes == encode_cbor(body_value(body))
    verify(signer.verify_key, RECORD_TYPE, record.body_bytes, record.signatures[0].sig)


def test_the_id_is_the_bodys_and_the_cid_the_blocks():
    one, two = (parse_record(sign_record(CLOSE, [signer])) for signer in (SERVER, SECOND))
    assert one.id == two.id == cbor_block(body_value(CLOSE)).cid
    assert one.cid != two.cid


@pytest.mark.parametrize("kind", RecordType)
def test_a_record_has_one_signature_and_a_manifest_those_of_two_versions_admins(kind: RecordType):
    body, _ = EACH[kind]
    most = 2 * MAX_ADMINS if kind is RecordType.FEDERATION else 1
    signers = [key(f"signer {number}") for number in range(most + 1)]
    assert len(parse_record(sign_record(body, signers[:-1])).signers) == most
    with pytest.raises(RecordError, match="signatures"):
        parse_record(sign_record(body, signers))


def test_signatures_made_elsewhere_give_the_same_record():
    record = parse_record(RECORDS[RecordType.CLOSE])
    assert assemble(CLOSE, {each.by: each.sig for each in record.signatures}) == RECORDS[RecordType.CLOSE]


def test_a_wrong_signature_is_found():
    signature = parse_record(RECORDS[RecordType.CLOSE]).signatures[0]
    other = parse_record(assemble(EACH[RecordType.INDEX][0], {signature.by: signature.sig}))
    with pytest.raises(BadSignature):
        other.check_signatures()


def test_a_signature_by_what_is_no_key_is_wrong():
    with pytest.raises(BadSignature):
        parse_record(assemble(CLOSE, {bytes(32): bytes(64)})).check_signatures()


def test_a_record_too_large_for_a_block_is_not_made():
    scribe = begun()
    with pytest.raises(RecordError):
        sign_record(scribe.close(private=bytes(MAX_BLOCK_SIZE)), [SERVER])


# -- what does not parse -------------------------------------------------------------------------------------------

VALUE = body_value(CLOSE)
SIGS = [{"by": id_of(SERVER), "sig": bytes(64)}]
NO_RECORDS = {
    "a list": [VALUE, SIGS],
    "no signatures": {"body": VALUE},
    "an empty list of signatures": {"body": VALUE, "sigs": []},
    "one more part": {"body": VALUE, "sigs": SIGS, "more": 1},
    "a signature cut short": {"body": VALUE, "sigs": [{"by": id_of(SERVER), "sig": bytes(63)}]},
    "a key cut short": {"body": VALUE, "sigs": [{"by": bytes(31), "sig": bytes(64)}]},
    "a signature with more to it": {"body": VALUE, "sigs": [SIGS[0] | {"more": 1}]},
    "a key twice": {"body": VALUE, "sigs": SIGS * 2},
    "keys out of order": {"body": VALUE, "sigs": [{"by": b"\xff" * 32, "sig": bytes(64)}, *SIGS]},
    "another version": {"body": VALUE | {"v": 2}, "sigs": SIGS},
    "a version that is a float": {"body": VALUE | {"v": 1.0}, "sigs": SIGS},
    "no version": {"body": {key: value for key, value in VALUE.items() if key != "v"}, "sigs": SIGS},
    "another type": {"body": VALUE | {"type": "open"}, "sigs": SIGS},
    "a type that is no text": {"body": VALUE | {"type": ["close"]}, "sigs": SIGS},
    "another type's fields": {"body": VALUE | {"type": "index"}, "sigs": SIGS},
    "a negative height": {"body": VALUE | {"height": -1}, "sigs": SIGS},
    "a height past 63 bits": {"body": VALUE | {"height": 2**63}, "sigs": SIGS},
    "term 0": {"body": VALUE | {"term": 0}, "sigs": SIGS},
    "a time that is whole": {"body": VALUE | {"time": 1}, "sigs": SIGS},
    "an outcome that is not known": {"body": VALUE | {"outcome": "gave up"}, "sigs": SIGS},
}


@pytest.mark.parametrize("value", NO_RECORDS.values(), ids=NO_RECORDS.keys())
def test_a_block_that_is_no_record_is_refused(value: object):
    with pytest.raises(RecordError):
        parse_record(cbor_block(value))


@given(st.binary(max_size=300))
def test_no_bytes_make_it_raise_anything_else(data: bytes):
    with pytest.raises(BlockError):
        parse_record(Block(RECORDS[RecordType.CLOSE].cid, data))


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False, allow_infinity=False)
    | st.binary() | st.text() | st.just(RECORDS[RecordType.CLOSE].cid),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)  # fmt: skip


@given(st.data())
def test_a_field_of_another_value_parses_to_that_value_or_is_refused(data: st.DataObject):
    body, _ = EACH[data.draw(st.sampled_from(RecordType))]
    value = body_value(body)
    changed = value | {data.draw(st.sampled_from(list(value))): data.draw(VALUES)}
    try:
        record = parse_record(cbor_block({"body": changed, "sigs": SIGS}))
    except BlockError:
        return
    assert encode_cbor(body_value(record.body)) == encode_cbor(changed)


# -- private parts and listings ------------------------------------------------------------------------------------


def test_a_private_part_is_read_if_it_is_plain():
    body = EACH[RecordType.DISPATCH][0]
    assert read_private(body, DispatchPrivate) == DispatchPrivate(kinds=(("train", "1"),))


def test_an_encrypted_private_part_is_not_read():
    assert read_private(Scribe().run(epoch=1, private=b"sealed"), RunPrivate) is None


@pytest.mark.parametrize("private", [b"", b"\xff", encode_cbor({}), encode_cbor({"reason": 1}), encode_cbor([])])
def test_a_private_part_of_another_shape_is_refused(private: bytes):
    with pytest.raises(BlockError):
        read_private(Scribe().close(private=private), ReasonPrivate)


def test_a_run_says_what_stays_of_it_only_if_not_everything_does():
    keep = "models=all updates=last:2 drop-updates"
    body = parse_record(sign_record(Scribe().run(keep=keep), [SERVER])).body
    assert isinstance(body, Run)
    assert str(body.plan) == keep
    assert "keep" not in body_value(Scribe().run())


@pytest.mark.parametrize("keep", [" ", "models=all updates=all", "updates=last:2", "models=all updates=last:02", "all"])
def test_a_run_that_says_it_in_another_way_is_refused(keep: str):
    with pytest.raises(RecordError, match="keep"):
        parse_record(sign_record(Scribe().run(keep=keep), [SERVER]))


@pytest.mark.parametrize("best", ["accuracy", ":max", " :min"])
def test_a_run_that_names_its_metric_in_another_way_is_refused(best: str):
    with pytest.raises(RecordError, match="best"):
        read_private(Scribe().run(best=best), RunPrivate)


def test_a_private_part_keeps_the_exact_types_of_a_run_config():
    config = (("whole", 1), ("part", 1.0), ("truth", True), ("text", "1"))
    private = read_private(Scribe().run(), RunPrivate)
    assert private is not None
    again = replace(private, config=config)
    read = read_private(Scribe().run(private=private_bytes(again)), RunPrivate)
    assert read is not None
    assert [type(value) for _, value in read.config] == [int, float, bool, str]


def test_items_of_another_type_are_refused():
    with pytest.raises(RecordError):
        list(typed_items(Listing(({"nodes": [1]},)), Look, Blocks()))


def test_an_answer_that_is_neither_reply_nor_error_is_refused():
    scribe = begun()
    body = scribe.collect(answers=Listing(({"reply": scribe.chain.run, "message": bytes(32)},)))
    with pytest.raises(RecordError):
        list(answers(body, Blocks()))


# -- tampering -----------------------------------------------------------------------------------------------------


def test_every_flipped_bit_of_a_stored_record_is_found_by_its_hash():
    for block in RECORDS.values():
        for at, bit in itertools.product(range(0, len(block.data), 7), (0, 3, 7)):
            with pytest.raises(BlockMismatch):
                checked_block(block.cid, _flipped(block.data, at, bit))


def test_a_bit_flipped_and_the_block_named_anew_is_found_all_the_same():
    scribe = Scribe()
    data = scribe.sign(scribe.run()).data
    for at in range(len(data)):
        spoiled = _flipped(data, at, at % 8)
        with pytest.raises((BrokenRule, MissingBlock)):  # a link that is changed leads nowhere
            Chain(scribe.first.cid).append_block(block_of(spoiled), scribe.source)


def test_a_bit_flipped_in_a_reply_is_found_by_the_collect():
    scribe = begun()
    reply = scribe.taken(ALICE).reply
    block = scribe.sign(scribe.collect(scribe.taken(ALICE)))
    data = scribe.source[reply]
    for at in range(0, len(data), 5):
        scribe.source[reply] = _flipped(data, at, at % 8)
        with pytest.raises(BrokenRule):
            scribe.chain.append_block(block, scribe.source)


def _flipped(data: bytes, at: int, bit: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 1 << bit]) + data[at + 1 :]


# -- read once ---------------------------------------------------------------------------------------------------------


def test_a_record_that_was_read_is_not_read_again(monkeypatch: pytest.MonkeyPatch):
    block = sign_record(replace(CLOSE, time=TIME + 77), [SERVER])
    record = parse_record(block)
    monkeypatch.setattr("protocol.records.signed_records.decode_cbor", lambda data: pytest.fail("it is read again"))
    assert parse_record(Block(block.cid, bytes(bytearray(block.data)))) is record


def test_what_is_remembered_goes_by_the_bytes_and_not_by_the_cid_they_came_under():
    block, other = (sign_record(replace(CLOSE, time=TIME + time), [SERVER]) for time in (78, 79))
    parse_record(block)
    assert parse_record(Block(block.cid, other.data)).body.time == TIME + 79
    assert parse_record(Block(other.cid, block.data)).cid == other.cid


def test_no_more_is_remembered_than_may_be(monkeypatch: pytest.MonkeyPatch):
    block = sign_record(CLOSE, [SERVER])
    remembered = Remembered(10 * len(block.data))
    for time in range(100):
        more = sign_record(replace(CLOSE, time=TIME + time), [SERVER])
        remembered.add(more, parse_record(more), len(more.data))
        assert remembered.get(more) is parse_record(more)
    assert len(remembered) <= 14


@pytest.mark.parametrize("size", [1_000, 100_000])
def test_a_record_of_lists_that_cost_more_to_read_than_to_send_is_refused_before_it_is_decoded(
    size: int, monkeypatch: pytest.MonkeyPatch
):
    body = replace(EACH[RecordType.INDEX][0], looks=Listing(([],) * size), records=())
    dense = sign_record(body, [SERVER])
    monkeypatch.setattr("protocol.records.signed_records.decode_cbor", lambda data: pytest.fail("it is decoded"))
    with pytest.raises(RecordError, match="more lists and maps"):
        parse_record(dense)


def test_the_densest_record_that_a_leader_writes_is_read():
    scribe = begun()
    looks = scribe.pack([scribe.look(count=1), scribe.look(ALICE, count=1)] * 1300)
    assert looks.link is None
    scribe.add(scribe.dispatch(looks=looks))

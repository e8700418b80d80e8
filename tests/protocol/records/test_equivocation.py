"""One signer, one place, two records."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from chains import (
    ADMIN,
    ALICE,
    BOB,
    CONTENT,
    SECOND,
    SERVER,
    TIME,
    Blocks,
    Scribe,
    begun,
    id_of,
    signed_value,
    unsigned_federation,
)

from crypto.keys import SigningKey
from protocol.blocks.cid import MissingBlock, cbor_block
from protocol.blocks.listing import Listing
from protocol.records.bodies import Body, Comparison, Recomputed, RecomputedAck
from protocol.records.equivocation import Equivocation, NoProof, equivocation, read_proof
from protocol.records.signed_records import Record, RecordError, body_value, parse_record


def record(scribe: Scribe, body: Body, *signers: SigningKey) -> Record:
    return parse_record(scribe.sign(body, *signers))


def test_two_records_at_one_height_are_a_proof():
    scribe = begun()
    a, b = record(scribe, scribe.dispatch()), record(scribe, scribe.close())
    proof = equivocation(a, b)
    assert proof is not None
    assert proof.key == id_of(SERVER)
    assert proof.place == (scribe.chain.run, 1, 2)
    assert {proof.first, proof.second} == {a, b}


def test_both_orders_give_one_proof():
    scribe = begun()
    a, b = record(scribe, scribe.dispatch()), record(scribe, scribe.close())
    assert equivocation(a, b) == equivocation(b, a)


def test_two_replies_to_one_message_are_a_proof():
    scribe = begun()
    a = record(scribe, scribe.reply_body(ALICE), ALICE)
    b = record(scribe, scribe.reply_body(ALICE, content=CONTENT), ALICE)
    proof = equivocation(a, b)
    assert proof is not None
    assert proof.key == id_of(ALICE)


@pytest.mark.parametrize("encrypted", [False, True])
def test_a_reply_signed_anew_for_the_successor_of_a_lost_dispatch_is_none(encrypted: bool):
    scribe = begun(encrypted=encrypted)
    body = scribe.reply_body(ALICE)
    anew = replace(body, dispatch=scribe.chain.run, time=body.time + 9)
    assert equivocation(record(scribe, body, ALICE), record(scribe, anew, ALICE)) is None


@pytest.mark.parametrize(
    "changes",
    [
        {"content": CONTENT},
        {"content": None, "code": 3},
        {"private": b"\xa0"},
        {"key": b"another"},
        {"epoch": 2},
        {"created": TIME},
        {"ttl": 1.0},
    ],
    ids=lambda changes: "-".join(changes),
)
def test_a_successor_dispatch_is_no_chance_to_say_something_else(changes: dict[str, Any]):
    scribe = begun()
    body = scribe.reply_body(ALICE)
    otherwise = replace(body, dispatch=scribe.chain.run, **changes)
    assert equivocation(record(scribe, body, ALICE), record(scribe, otherwise, ALICE)) is not None


@pytest.mark.parametrize("changes", [{"candidate": id_of(SERVER)}, {"head": CONTENT}, {"manifest": CONTENT}])
def test_two_votes_in_one_term_are_a_proof(changes: dict[str, Any]):
    scribe = begun()
    body = scribe.vote(ALICE)
    proof = equivocation(record(scribe, body, ALICE), record(scribe, replace(body, **changes), ALICE))
    assert proof is not None
    assert proof.place == (scribe.chain.run, "vote", 2)


@pytest.mark.parametrize("changes", [{"time": TIME + 9}, {"term": 3}, {"run": CONTENT}])
def test_a_vote_again_or_in_another_election_is_none(changes: dict[str, Any]):
    scribe = begun()
    body = scribe.vote(ALICE)
    assert equivocation(record(scribe, body, ALICE), record(scribe, replace(body, **changes), ALICE)) is None


def test_a_leader_that_goes_on_in_the_old_term_beside_a_takeover_is_none():
    scribe = begun()
    on, over = record(scribe, scribe.dispatch()), record(scribe, scribe.takeover(leader=SERVER), SERVER)
    assert equivocation(on, over) is None


def test_a_standby_that_says_equal_to_some_and_diverged_to_others_equivocates():
    scribe = begun()
    place = {"by": id_of(SECOND), "time": TIME, "run": scribe.chain.run, "term": 1, "height": 1, "replies": Listing(())}
    told = {
        comparison: RecomputedAck(
            head=scribe.chain.head,
            recomputed=Recomputed(since=1, comparison=comparison, message=None, content=None),
            **place,
        )
        for comparison in Comparison
    }
    proof = equivocation(*(record(scribe, body, SECOND) for body in told.values()))
    assert proof is not None
    assert proof.key == id_of(SECOND)


@pytest.mark.parametrize(
    "changes",
    [{"since": 3}, {"comparison": "equal", "message": 0}, {"comparison": "equal", "content": CONTENT}, {"more": 1}],
)
def test_an_ack_that_says_what_cannot_be_is_no_record(changes: dict[str, object]):
    scribe = begun()
    told = Recomputed(since=1, comparison=Comparison.DIVERGED, message=0, content=CONTENT)
    place = {"by": id_of(SECOND), "time": TIME, "run": scribe.chain.run, "term": 1, "height": 2, "replies": Listing(())}
    body = body_value(RecomputedAck(head=scribe.chain.head, recomputed=told, **place))
    assert parse_record(signed_value(body)).body.recomputed == told
    body["recomputed"] = body["recomputed"] | {"message": None, "content": None} | changes
    with pytest.raises(RecordError):
        parse_record(signed_value(body))


def test_a_record_and_itself_are_none():
    scribe = begun()
    a = record(scribe, scribe.dispatch())
    assert equivocation(a, a) is None


def test_the_same_said_with_another_key_is_no_other_record():
    scribe = begun()
    a = record(scribe, scribe.dispatch())
    b = record(scribe, scribe.dispatch(), SECOND)
    assert a.cid != b.cid
    assert equivocation(a, b) is None


def test_records_at_two_heights_or_terms_or_runs_are_none():
    scribe = begun()
    body = scribe.close()
    a = record(scribe, body)
    for elsewhere in ({"height": 9}, {"term": 2}, {"run": CONTENT}):
        assert equivocation(a, record(scribe, replace(body, **elsewhere))) is None


def test_two_signers_are_none():
    scribe = begun()
    a = record(scribe, scribe.dispatch())
    b = record(scribe, scribe.close(by=id_of(SECOND)), SECOND)
    assert equivocation(a, b) is None


def test_a_record_that_somebody_else_signed_in_ones_name_is_none():
    scribe = begun()
    a, b = record(scribe, scribe.dispatch()), record(scribe, scribe.close(), BOB)
    assert equivocation(a, b) is None


def test_a_record_with_a_wrong_signature_proves_nothing():
    scribe = begun()
    a, b = record(scribe, scribe.dispatch()), record(scribe, scribe.close())
    spoiled = replace(b, signatures=(replace(b.signatures[0], sig=bytes(64)),))
    assert equivocation(a, spoiled) is None


def test_two_run_records_begin_two_runs():
    scribe = Scribe()
    assert equivocation(record(scribe, scribe.run()), record(scribe, scribe.run(time=TIME + 1))) is None


def test_two_drafts_of_a_manifest_are_none():
    scribe = Scribe()
    a = record(scribe, unsigned_federation().body, ADMIN)
    b = record(scribe, unsigned_federation(name="another").body, ADMIN)
    assert equivocation(a, b) is None


# -- proof blocks --------------------------------------------------------------------------------------------------


def two_at_one_height() -> tuple[Scribe, Equivocation]:
    scribe = begun()
    found = equivocation(record(scribe, scribe.dispatch()), record(scribe, scribe.close()))
    assert found is not None
    return scribe, found


def test_a_proof_block_and_its_two_records_need_nothing_else():
    _, found = two_at_one_height()
    proof, *records = found.blocks()
    alone = Blocks({block.cid: block.data for block in records})
    assert read_proof(proof, alone) == found


def test_a_proof_without_its_records_cannot_be_checked():
    _, found = two_at_one_height()
    with pytest.raises(MissingBlock):
        read_proof(found.blocks()[0], Blocks())


@pytest.mark.parametrize("links", [{}, {"first": CONTENT}, {"first": CONTENT, "second": CONTENT, "more": 1}])
def test_a_block_of_another_shape_is_no_proof(links):
    with pytest.raises(NoProof, match="no map of two links"):
        read_proof(cbor_block(links), Blocks())


def test_two_records_that_contradict_nothing_are_no_proof():
    scribe, found = two_at_one_height()
    head = scribe.chain.head
    with pytest.raises(NoProof, match="not two of one signer's"):
        read_proof(cbor_block({"first": head, "second": found.first.cid}), scribe.source)


def test_there_is_one_order_of_a_proof():
    scribe, found = two_at_one_height()
    turned = cbor_block({"first": found.second.cid, "second": found.first.cid})
    with pytest.raises(NoProof, match="lower id"):
        read_proof(turned, scribe.source)


def test_what_a_proof_links_has_to_be_records():
    scribe, _ = two_at_one_height()
    other = cbor_block("no record")
    scribe.source.add(other)
    with pytest.raises(NoProof, match="no record"):
        read_proof(cbor_block({"first": other.cid, "second": other.cid}), scribe.source)

"""One signer, one place, two records."""

from __future__ import annotations

from dataclasses import replace

from chains import ADMIN, ALICE, BOB, CONTENT, SECOND, SERVER, TIME, Scribe, begun, draft_federation, id_of

from crypto.keys import SigningKey
from protocol.equivocation import equivocation
from protocol.records import Body
from protocol.signed import Record, parse_record


def record(scribe: Scribe, body: Body, *signers: SigningKey) -> Record:
    return parse_record(scribe.sign(body, *signers))


def test_two_records_at_one_height_are_a_proof():
    scribe = begun()
    a, b = record(scribe, scribe.dispatch()), record(scribe, scribe.close())
    proof = equivocation(a, b)
    assert proof is not None
    assert proof.signer == id_of(SERVER)
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
    assert proof.signer == id_of(ALICE)


def test_a_record_and_itself_are_none():
    scribe = begun()
    a = record(scribe, scribe.dispatch())
    assert equivocation(a, a) is None


def test_one_more_signature_makes_no_other_record():
    scribe = begun()
    a = record(scribe, scribe.dispatch())
    b = record(scribe, scribe.dispatch(), SERVER, SECOND)
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
    a = record(scribe, draft_federation().body, ADMIN)
    b = record(scribe, draft_federation(name="another").body, ADMIN)
    assert equivocation(a, b) is None

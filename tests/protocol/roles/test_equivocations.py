"""Two records at one place are found out, whatever was said of either of them before."""

from __future__ import annotations

from dataclasses import replace

from attacked import Attacked, following, nowhere, position
from chains import BOB, CAROL, SERVER, STRANGER, Scribe, begun

from crypto.keys import SigningKey
from protocol.blocks.cid import Block
from protocol.records.bodies import Chained
from protocol.records.signed_records import read_record, sign_record
from protocol.roles.effects import KeepProof
from protocol.wire.announcements import Head, Proof


def head_of(scribe: Scribe) -> Block:
    assert scribe.chain.head is not None
    return Block(scribe.chain.head, scribe.source[scribe.chain.head])


def other_head(scribe: Scribe, signer: SigningKey = SERVER, later: float = 1.0) -> Block:
    """Another record in the server's name, in the place of the head."""
    body = read_record(head_of(scribe).cid, scribe.source).body
    assert isinstance(body, Chained)
    return sign_record(replace(body, time=body.time + later), [signer])


def tell(client: Attacked, who: SigningKey, *records: Block) -> None:
    """Announce them as a proof, once the member is believed again."""
    client.wait(60.0)
    first, second = records
    client.say(who, Proof(first.cid, second.cid), blocks=records)


def test_another_head_is_a_proof_though_it_was_shown_at_a_wrong_height_before() -> None:
    client = following(begun())
    scribe, height = client.scribe, client.scribe.chain.height
    other = other_head(scribe)
    for claimed in (height - 1, height):
        client.wait(60.0)
        client.say(SERVER, Head(position(scribe, head=other.cid, height=claimed)), blocks=[other])
        client.give_all()
    assert client.all(KeepProof)


def test_a_record_that_was_in_a_pair_that_proves_nothing_is_still_one_of_a_proof() -> None:
    client = following(begun())
    head, other = head_of(client.scribe), other_head(client.scribe)
    tell(client, BOB, other, other_head(client.scribe, STRANGER))
    tell(client, BOB, other_head(client.scribe, BOB), other)
    assert not client.all(KeepProof)
    tell(client, CAROL, head, other)
    assert client.all(KeepProof)


def test_two_records_in_a_members_name_by_another_key_are_no_proof_against_it() -> None:
    client = following(begun())
    tell(client, BOB, other_head(client.scribe, STRANGER), other_head(client.scribe, STRANGER, later=2.0))
    assert not client.all(KeepProof)


def test_a_member_whose_proofs_prove_nothing_keeps_no_other_waiting() -> None:
    client = following(begun())
    head, other = head_of(client.scribe), other_head(client.scribe)
    client.say(BOB, Proof(nowhere(1), nowhere(2)))
    client.say(BOB, Proof(head.cid, head.cid), blocks=[head])
    client.say(CAROL, Proof(head.cid, other.cid), blocks=[head, other])
    assert client.all(KeepProof)

"""`protocol.roles.newest_manifest`: what a member takes for its own word."""

from __future__ import annotations

from dataclasses import replace

from chains import ALICE, BOB, SERVER, Scribe, begun, id_of

from protocol.blocks.cid import Block, cbor_block
from protocol.records.signed_records import assemble, sign_record
from protocol.roles.newest_manifest import Author

AUTHOR = Author(id_of(ALICE), (ALICE,), 1)


def reply(scribe: Scribe) -> Block:
    return sign_record(scribe.reply_body(ALICE), [ALICE])


def test_what_it_signed_in_its_name_is_its_own() -> None:
    assert AUTHOR.own_body(reply(begun())) is not None


def test_a_record_with_its_key_and_a_wrong_signature_is_not() -> None:
    body = begun().reply_body(ALICE)
    assert AUTHOR.own_body(assemble(body, {id_of(ALICE): bytes(64)})) is None


def test_nor_is_one_that_another_signed_or_one_in_anothers_name() -> None:
    body = begun().reply_body(ALICE)
    assert AUTHOR.own_body(sign_record(body, [SERVER])) is None
    assert AUTHOR.own_body(sign_record(replace(body, by=id_of(BOB)), [ALICE])) is None


def test_nor_is_what_is_no_record() -> None:
    assert AUTHOR.own_body(cbor_block("no record")) is None

"""Records that break one rule of `protocol.chain.rules` 1 to 5: the block itself."""

from __future__ import annotations

from dataclasses import replace

from chains import ALICE, CONTENT, ENVIRONMENT, SECOND, SERVER, Scribe, block_of, id_of, signature_of, signed_value
from spoiling import Spoiled, breaks, signed

from protocol.blocks.cid import Block, cbor_block, encode_cbor
from protocol.chain import rules
from protocol.records.signed_records import body_value

# -- the block -----------------------------------------------------------------------------------------------------


@breaks(rules.BlockHash)
def another_blocks_bytes(s: Scribe) -> Spoiled:
    good = s.dispatch()
    return Spoiled(Block(s.sign(good).cid, s.sign(s.close()).data), good)


@breaks(rules.BlockHash)
def a_reply_of_other_bytes(s: Scribe) -> Spoiled:
    taken, other = s.taken(ALICE), s.taken(ALICE, content=CONTENT)
    good = s.collect(other)
    bad = s.sign(s.collect(taken))
    s.source[taken.reply] = s.source[other.reply]
    return Spoiled(bad, good)


@breaks(rules.CanonicalEncoding)
def keys_out_of_order(s: Scribe) -> Spoiled:
    good = s.dispatch()
    data = s.sign(good).data
    sigs, body = data.index(b"dsigs"), 1  # a map of two: "body" and its value, then "sigs" and its value
    return Spoiled(block_of(data[:1] + data[sigs:] + data[body:sigs]), good)


@breaks(rules.CanonicalEncoding)
def bytes_after_the_end(s: Scribe) -> Spoiled:
    good = s.dispatch()
    return Spoiled(block_of(s.sign(good).data + b"\x00"), good)


@breaks(rules.RecordShape)
def a_field_that_is_not_known(s: Scribe) -> Spoiled:
    good = s.dispatch()
    return Spoiled(signed_value(body_value(good) | {"more": 1}), good)


@breaks(rules.RecordShape)
def a_version_that_is_not_known(s: Scribe) -> Spoiled:
    good = s.dispatch()
    return Spoiled(signed_value(body_value(good) | {"v": 2}), good)


@breaks(rules.RecordShape)
def a_type_that_is_not_known(s: Scribe) -> Spoiled:
    good = s.dispatch()
    return Spoiled(signed_value(body_value(good) | {"type": "despatch"}), good)


@breaks(rules.RecordShape)
def one_signature_twice(s: Scribe) -> Spoiled:
    good = s.dispatch()
    signature = {"by": id_of(SERVER), "sig": signature_of(body_value(good))}
    return Spoiled(cbor_block({"body": body_value(good), "sigs": [signature, signature]}), good)


@breaks(rules.RecordShape)
def no_signature(s: Scribe) -> Spoiled:
    good = s.dispatch()
    return Spoiled(cbor_block({"body": body_value(good), "sigs": []}), good)


@breaks(rules.RecordShape)
def a_listing_of_other_things(s: Scribe) -> Spoiled:
    good = s.dispatch()
    return signed(s, replace(good, groups=s.pack([s.look(ALICE)])), good)


@breaks(rules.PrivatePart)
def a_dispatch_with_no_private_part(s: Scribe) -> Spoiled:
    good = s.dispatch()
    return signed(s, replace(good, private=b""), good)


@breaks(rules.PrivatePart, Scribe)
def a_run_with_another_types_private_part(s: Scribe) -> Spoiled:
    good = s.run()
    return signed(s, replace(good, private=encode_cbor({"reason": ""})), good)


@breaks(rules.PrivatePart)
def a_close_with_no_private_part(s: Scribe) -> Spoiled:
    good = s.close()
    return signed(s, replace(good, private=b""), good)


@breaks(rules.PrivatePart)
def a_new_environment_that_is_none(s: Scribe) -> Spoiled:
    good = s.environment(ENVIRONMENT)
    return signed(s, replace(good, private=encode_cbor({"libc": "glibc 2.41"})), good)


@breaks(rules.PrivatePart)
def a_roster_with_a_private_part(s: Scribe) -> Spoiled:
    good = s.roster(s.with_dave().cid)
    return signed(s, replace(good, private=encode_cbor({})), good)


@breaks(rules.PrivatePart)
def a_reply_with_no_private_part(s: Scribe) -> Spoiled:
    return signed(s, s.collect(s.taken(ALICE, private=b"")), s.collect(s.taken(ALICE)))


@breaks(rules.SignatureValid)
def a_signature_with_a_bit_flipped(s: Scribe) -> Spoiled:
    good = s.dispatch()
    signature = bytearray(signature_of(body_value(good)))
    signature[0] ^= 1
    sigs = [{"by": id_of(SERVER), "sig": bytes(signature)}]
    return Spoiled(cbor_block({"body": body_value(good), "sigs": sigs}), good)


@breaks(rules.RecordShape)
def a_second_signature(s: Scribe) -> Spoiled:
    good = s.dispatch()
    sigs = [{"by": id_of(key), "sig": signature_of(body_value(good), key)} for key in (SERVER, SECOND)]
    sigs.sort(key=lambda each: each["by"])
    return Spoiled(cbor_block({"body": body_value(good), "sigs": sigs}), good)


@breaks(rules.LeaderKey)
def a_signature_by_what_is_no_key(s: Scribe) -> Spoiled:
    good = s.dispatch()
    sigs = [{"by": bytes(32), "sig": signature_of(body_value(good))}]
    return Spoiled(cbor_block({"body": body_value(good), "sigs": sigs}), good)

"""Signatures that were found right before are not verified again. All else about a record is judged each time."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from a_client import AClient, plan
from chains import ALICE, BOB, SERVER, Scribe, begun, reader_of

from crypto import dsse
from protocol.blocks.cid import CID, Block, cbor_data_block
from protocol.chain import rules
from protocol.chain.chain import Chain
from protocol.records.bodies import Chained, Federation
from protocol.records.signed_records import Record, parse_record, sign_record
from protocol.roles.effects import WriteHead
from protocol.roles.following.followed_run import NOTHING, Verified


def a_run(*, encrypted: bool) -> Scribe:
    """With a reply that is taken, one that is refused, and a roster."""
    scribe = Scribe(encrypted=encrypted, reader=reader_of(SERVER))
    scribe.add(scribe.run())
    scribe.add(scribe.dispatch(scribe.group(ALICE, BOB)))
    refused = scribe.taken(BOB).reply
    scribe.add(scribe.collect(scribe.taken(ALICE), scribe.error(BOB, refused=refused)))
    scribe.add(scribe.roster(scribe.with_dave().cid))
    return scribe


def records(scribe: Scribe) -> Iterator[Record]:
    """All that was signed, but for manifests."""
    blocks = (Block(cid, data) for cid, data in scribe.source.items())
    signed = (block for block in blocks if not block.cid.is_raw and b"dsigs" in block.data)
    return (record for record in map(parse_record, signed) if not isinstance(record.body, Federation))


def appended(scribe: Scribe, well_signed: frozenset[CID] = frozenset()) -> set[CID]:
    """What a reader of the whole chain finds well signed. What was known to be so need not be verified."""
    chain = Chain(scribe.first.cid, reader_of(SERVER), well_signed)
    in_chain = sorted(
        (record.body.height, record.cid) for record in records(scribe) if isinstance(record.body, Chained)
    )
    steps = [chain.append_block(Block(cid, scribe.source[cid]), scribe.source) for _, cid in in_chain]
    return {cid for step in steps for cid in step.well_signed}


@pytest.mark.parametrize("encrypted", [False, True])
def test_every_record_of_a_whole_chain_is_found_well_signed(encrypted: bool) -> None:
    scribe = a_run(encrypted=encrypted)
    assert appended(scribe) == {record.cid for record in records(scribe)}


@pytest.mark.parametrize("encrypted", [False, True])
def test_what_is_well_signed_is_not_verified_again(encrypted: bool, verifications: Callable[[], int]) -> None:
    scribe = a_run(encrypted=encrypted)
    known = frozenset(record.cid for record in records(scribe))
    manifests = verified_by(verifications, lambda: scribe.read_manifest(newest_manifest(scribe)))
    assert verified_by(verifications, lambda: appended(scribe, known)) == manifests
    assert verified_by(verifications, lambda: appended(scribe)) == manifests + len(known)


def newest_manifest(scribe: Scribe) -> CID:
    return scribe.chain.manifest.cid


def verified_by(verifications: Callable[[], int], work: Callable[[], object]) -> int:
    """How many signatures a fresh process verifies to do the ``work``."""
    dsse._RIGHT.__init__(dsse.MAX_RIGHT)  # type: ignore[misc]  # it is the fixture's, of this test alone
    before = verifications()
    work()
    return verifications() - before


def test_other_bytes_are_not_well_signed_under_its_name() -> None:
    scribe = begun()
    forged = sign_record(scribe.collect(scribe.error(ALICE), scribe.error(BOB)), [BOB])
    honest = sign_record(scribe.collect(scribe.error(ALICE), scribe.error(BOB)), [SERVER])
    chain_of(scribe, honest.cid).append_block(honest, scribe.source)
    with pytest.raises(rules.BrokenRule):
        chain_of(scribe, honest.cid).append_block(Block(honest.cid, forged.data), scribe.source)


def chain_of(scribe: Scribe, *well_signed: CID) -> Chain:
    """The scribe's chain, for a reader that knows some records to be well signed."""
    chain = Chain(scribe.first.cid, well_signed=frozenset(well_signed))
    chain.append_block(Block(scribe.chain.run, scribe.source[scribe.chain.run]), scribe.source)
    assert scribe.chain.head is not None
    chain.append_block(Block(scribe.chain.head, scribe.source[scribe.chain.head]), scribe.source)
    return chain


def test_a_record_that_is_well_signed_with_another_key_is_not_the_leaders() -> None:
    scribe = begun()
    record = sign_record(scribe.collect(scribe.error(ALICE), scribe.error(BOB)), [BOB])
    with pytest.raises(rules.LeaderKey):
        chain_of(scribe, record.cid).append_block(record, scribe.source)


def test_a_reply_that_is_well_signed_with_another_key_is_not_its_members() -> None:
    scribe = begun()
    taken = scribe.taken(ALICE, BOB)
    record = sign_record(scribe.collect(taken, scribe.error(BOB)), [SERVER])
    with pytest.raises(rules.ReplyKey):
        chain_of(scribe, taken.reply).append_block(record, scribe.source)


def test_what_is_not_known_to_be_well_signed_is_verified() -> None:
    scribe = begun()
    honest = sign_record(scribe.collect(scribe.error(ALICE), scribe.error(BOB)), [SERVER])
    forged = cbor_data_block(honest.data[:-1] + bytes([honest.data[-1] ^ 1]))  # the signature comes last
    with pytest.raises(rules.SignatureValid):
        chain_of(scribe, honest.cid).append_block(forged, scribe.source)


# -- from one process to the next --------------------------------------------------------------------------------------


def test_a_client_verifies_nothing_again_that_an_earlier_process_of_it_did(verifications: Callable[[], int]) -> None:
    scribe = begun()
    first = AClient(plan(), scribe)
    first.hear()
    kept = frozenset(cid for head in first.all(WriteHead) for cid in head.well_signed)
    anew, again = (
        verified_by(verifications, lambda verified=verified: AClient(plan(), scribe, verified=verified).hear())
        for verified in (NOTHING, Verified({}, kept))
    )
    assert (len(kept), anew - again) == (2, 2)

"""A broken promise: what a vote and a record of an older term prove, and what they do not."""

from __future__ import annotations

from dataclasses import replace

import pytest
from chains import ALICE, BOB, SECOND, SERVER, TIME, Blocks, Scribe, begun, id_of

from crypto.keys import SigningKey
from protocol.blocks.cid import Block, cbor_block
from protocol.blocks.listing import Listing
from protocol.records.bodies import Ack
from protocol.records.broken_promises import BrokenPromise, broken_promise, promise_links, read_broken_promise
from protocol.records.equivocation import NoProof
from protocol.records.signed_records import Record, parse_record


@pytest.fixture
def scribe() -> Scribe:
    return begun()


def vote(scribe: Scribe, voter: SigningKey = SERVER) -> Record:
    """A vote for the second server, to go on after the head in the next term."""
    return parse_record(scribe.sign(scribe.vote(voter), voter))


def head(scribe: Scribe) -> Record:
    assert scribe.chain.head is not None
    return parse_record(Block(scribe.chain.head, scribe.source[scribe.chain.head]))


def ack(scribe: Scribe, member: SigningKey, signer: SigningKey | None = None) -> Record:
    body = Ack(
        by=id_of(member),
        time=TIME,
        run=scribe.chain.run,
        term=scribe.chain.term,
        height=scribe.chain.height,
        head=scribe.chain.head,
        replies=Listing(()),
    )
    return parse_record(scribe.sign(body, signer or member))


def test_a_leader_that_votes_for_a_newer_term_and_signs_on_in_its_own_has_broken_a_promise(scribe: Scribe) -> None:
    promise, before = vote(scribe), head(scribe)
    scribe.add(scribe.collect(scribe.taken(ALICE)))
    found = broken_promise(promise, before, head(scribe))
    assert isinstance(found, BrokenPromise)
    assert (found.by, found.run, found.height) == (id_of(SERVER), scribe.chain.run, 2)
    said = found.in_words(lambda member: "server" if member == id_of(SERVER) else "second")
    assert said.startswith(
        "server voted for second to lead in term 2 from height 1 on, and signed a collect at height 2"
    )


def test_so_has_a_client_that_confirms_more_of_the_old_term(scribe: Scribe) -> None:
    promise, before = vote(scribe, BOB), head(scribe)
    scribe.add(scribe.collect(scribe.taken(ALICE)))
    assert broken_promise(promise, before, ack(scribe, BOB)) is not None


def test_a_record_at_the_head_that_was_voted_for_breaks_nothing(scribe: Scribe) -> None:
    assert broken_promise(vote(scribe), head(scribe), head(scribe)) is None
    assert broken_promise(vote(scribe, BOB), head(scribe), ack(scribe, BOB)) is None


def test_nor_does_a_record_of_the_term_that_was_voted_for(scribe: Scribe) -> None:
    promise, before = vote(scribe, BOB), head(scribe)
    scribe.lead(leader=SECOND)
    assert broken_promise(promise, before, ack(scribe, BOB)) is None


def test_nor_a_tail_that_was_lost_before_the_vote_however_high_it_stands(scribe: Scribe) -> None:
    lost = begun()
    lost.add(lost.collect(lost.taken(ALICE)))
    lost.add(lost.collect(lost.taken(BOB)))
    lost.fill_until(9)
    scribe.lead(leader=SECOND)
    promise = vote(scribe, SERVER)
    assert broken_promise(promise, head(scribe), head(lost)) is None
    assert broken_promise(promise, head(scribe), ack(lost, SERVER)) is None


def test_what_another_key_signed_in_the_voters_name_proves_nothing(scribe: Scribe) -> None:
    promise, before = vote(scribe, BOB), head(scribe)
    scribe.add(scribe.collect(scribe.taken(ALICE)))
    assert broken_promise(promise, before, ack(scribe, BOB, signer=ALICE)) is None


@pytest.mark.parametrize("spoil", ["head", "run", "signature"])
def test_what_is_not_all_of_a_proof_proves_nothing(spoil: str, scribe: Scribe) -> None:
    promise, before = vote(scribe, BOB), head(scribe)
    scribe.add(scribe.collect(scribe.taken(ALICE)))
    confirmed = ack(scribe, BOB)
    match spoil:
        case "head":
            before = head(scribe)
        case "run":
            other = begun(app=cbor_block("another app").cid)
            other.add(other.collect(other.taken(ALICE)))
            confirmed = ack(other, BOB)
        case "signature":
            confirmed = _wrongly_signed(confirmed)
    assert broken_promise(promise, before, confirmed) is None


def _wrongly_signed(record: Record) -> Record:
    return replace(record, signatures=(replace(record.signatures[0], sig=bytes(64)),))


def made(scribe: Scribe) -> BrokenPromise:
    promise, before = vote(scribe), head(scribe)
    scribe.add(scribe.collect(scribe.taken(ALICE)))
    found = broken_promise(promise, before, head(scribe))
    assert found is not None
    return found


def test_its_four_blocks_are_the_whole_proof(scribe: Scribe) -> None:
    found = made(scribe)
    source = Blocks()
    proof, *records = found.blocks()
    source.add(*records)
    assert promise_links(proof) == (found.vote.cid, found.record.cid)
    assert read_broken_promise(proof, source) == found


def test_a_block_that_links_other_records_is_none(scribe: Scribe) -> None:
    found = made(scribe)
    with pytest.raises(NoProof, match="not a vote"):
        read_broken_promise(cbor_block({"vote": found.record.cid, "record": found.vote.cid}), scribe.source)
    with pytest.raises(NoProof, match="rules out"):
        read_broken_promise(cbor_block({"vote": found.vote.cid, "record": found.head.cid}), scribe.source)

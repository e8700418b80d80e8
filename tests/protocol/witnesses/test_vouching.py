"""Whose word counts for a dispatch, and which training messages lacked witnesses."""

from __future__ import annotations

from chains import ALICE, BOB, CAROL, MEMBERS, SECOND, SERVER, TIME, Scribe, id_of

from crypto.keys import SigningKey
from protocol.blocks.cid import cbor_block
from protocol.blocks.listing import Listing
from protocol.records.bodies import Comparison, Recomputed, RecomputedAck, Role
from protocol.witnesses.needed import possible_witnesses, witnesses_needed
from protocol.witnesses.vouching import SPANS, Vouching
from protocol.witnesses.witnessed_rounds import WitnessedRounds

ACK = cbor_block("the block of an ack")
MANIFEST = Scribe(MEMBERS).first
LEADER = id_of(SERVER)


def word(since: int, height: int, comparison: Comparison = Comparison.EQUAL, by: SigningKey = SECOND) -> RecomputedAck:
    told = Recomputed(since=since, comparison=comparison, message=None, content=None)
    given = {"by": id_of(by), "time": TIME, "run": ACK.cid, "term": 1, "head": ACK.cid, "replies": Listing(())}
    return RecomputedAck(height=height, recomputed=told, **given)


def test_a_dispatch_is_vouched_for_from_where_a_word_begins_to_where_it_ends() -> None:
    vouching = Vouching()
    vouching.take(word(2, 4), SECOND.verify_key.raw, ACK)
    vouching.take(word(7, 8), SECOND.verify_key.raw, ACK)
    heights = [height for height in range(10) if vouching.vouch_for(height, MANIFEST, LEADER)]
    assert (heights, vouching.up_to(id_of(SECOND))) == ([2, 3, 4, 7, 8], 8)


def test_the_leaders_word_and_that_of_a_member_that_is_no_server_count_for_nothing() -> None:
    vouching = Vouching()
    for signer in (SERVER, ALICE):
        vouching.take(word(1, 9, by=signer), signer.verify_key.raw, ACK)
        vouching.take(word(1, 9, Comparison.DIVERGED, by=signer), signer.verify_key.raw, ACK)
    assert not vouching.vouch_for(1, MANIFEST, LEADER)
    assert vouching.contradiction(MANIFEST, LEADER) is None
    assert possible_witnesses(MANIFEST, LEADER) == {id_of(SECOND)}


def test_what_one_server_says_takes_bounded_memory() -> None:
    vouching = Vouching()
    for at in range(3, 3 * SPANS + 30, 3):
        vouching.take(word(at, at), SECOND.verify_key.raw, ACK)
    assert sum(bool(vouching.vouch_for(at, MANIFEST, LEADER)) for at in range(3 * SPANS + 30)) == SPANS


def test_a_run_may_ask_for_more_witnesses_than_its_federation_and_for_no_fewer() -> None:
    assert [witnesses_needed(asked, MANIFEST) for asked in (0, 2)] == [0, 2]


def test_updates_to_a_dispatch_without_enough_witnesses_are_told_with_their_clients() -> None:
    scribe, rounds = Scribe(MEMBERS), WitnessedRounds()
    rounds.take(scribe.add(scribe.run(witnesses=1)), scribe.chain)
    for _ in range(2):
        rounds.take(scribe.add(scribe.dispatch(scribe.group(ALICE, BOB))), scribe.chain)
        rounds.take(scribe.add(scribe.collect(scribe.taken(ALICE), scribe.error(BOB))), scribe.chain)
    query = scribe.dispatch(scribe.group(CAROL, type="query"), kinds=(("query", "1"),))
    rounds.take(scribe.add(query), scribe.chain)
    rounds.take(scribe.add(scribe.collect(scribe.taken(CAROL))), scribe.chain)
    assert [(each.height, each.trained) for each in rounds.lacking()] == [(1, [id_of(ALICE)]), (3, [id_of(ALICE)])]
    rounds.witnessed({id_of(SECOND): [(1, 2)], id_of(SERVER): [(1, 9)]})
    assert [(each.height, each.needed) for each in rounds.lacking()] == [(3, 1)]
    assert (rounds.count, Role.SERVER in MEMBERS["second server"].roles) == (1, True)

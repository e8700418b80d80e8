"""A run goes on from before a record that most servers contradict, and the chain shows why."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest
from chains import (
    ADMIN,
    ALICE,
    BOB,
    CONTENT,
    DAVE,
    KEEPER,
    MEMBERS,
    SECOND,
    SERVER,
    STRANGER,
    TIME,
    Scribe,
    id_of,
    member,
)
from disputed_runs import (
    ELSE,
    FIVE_SERVERS,
    MOST,
    NOTHING,
    OTHERWISE,
    WITNESSES,
    against,
    disputed,
    three_servers,
    word,
)

from crypto.keys import SigningKey
from protocol.blocks.cid import Block
from protocol.chain.chain import Step
from protocol.chain.closure import missing
from protocol.federation.manifest import Manifest
from protocol.federation.unsigned_versions import without_member
from protocol.records.bodies import RecomputedAck, Role, Vote
from protocol.records.broken_promises import broken_promise
from protocol.records.signed_records import Record, body_value, parse_record
from protocol.witnesses.agreement import Agreement, agreement, why_no_agreement


def taken_over() -> tuple[Scribe, Step]:
    scribe = three_servers()
    body = against(scribe)
    scribe.leader = SECOND
    return scribe, scribe.add(body)


def test_the_next_leader_sends_its_own_dispatch_in_place_of_the_disputed_one():
    scribe, step = taken_over()
    assert (step.took_over, scribe.chain.by, scribe.chain.term, scribe.chain.height) == (True, id_of(SECOND), 2, 1)
    assert not scribe.chain.open
    assert len(scribe.add(scribe.dispatch()).opened) == 2


def test_the_step_has_what_is_disputed_and_the_words_and_none_of_them_is_verified_twice():
    step = taken_over()[1]
    against_it, *words = step.dispute
    assert [against_it.body.by, *(each.body.by for each in words)] == [id_of(SERVER), *map(id_of, WITNESSES)]
    assert {each.cid for each in (*step.votes, *step.dispute)} < set(step.well_signed)


def test_its_closure_has_the_disputed_record_and_the_words():
    scribe = three_servers()
    block = scribe.sign(against(scribe), SECOND)
    needed = [*(word(scribe, each).cid for each in WITNESSES), disputed(scribe)]
    for each in needed:
        del scribe.source[each]
    assert missing(block, scribe.source) == needed


def test_from_then_on_the_chain_shows_a_record_whose_contents_may_be_nowhere() -> None:
    assert not three_servers().chain.shows_disputed
    assert taken_over()[0].chain.shows_disputed


def test_a_takeover_and_a_vote_in_no_dispute_are_what_they_were():
    scribe = three_servers()
    assert "against" not in body_value(scribe.vote(ALICE))
    assert not {"against", "words"} & set(body_value(scribe.takeover(voters=(SECOND, DAVE, ALICE, BOB))))


# -- how many agree ------------------------------------------------------------------------------------------------


def agree(servers: int, *by: SigningKey) -> str:
    """Why ``by`` are not enough of so many servers; empty if they are."""
    more = (("third", DAVE), ("fourth", KEEPER), ("fifth", STRANGER))[: servers - 2]
    scribe = Scribe({**MEMBERS, **{name: member(key, Role.SERVER) for name, key in more}})
    scribe.add(scribe.run())
    said = [parse_record(word(scribe, each)).body for each in by]
    assert all(isinstance(each, RecomputedAck) for each in said)
    return why_no_agreement(said, scribe.chain.manifest, id_of(SERVER))  # type: ignore[arg-type]  # asserted above


@pytest.mark.parametrize(
    ("servers", "by", "enough"),
    [
        (2, [SECOND], False),
        (3, [SECOND], False),
        (3, [SECOND, DAVE], True),
        (4, [SECOND, DAVE], False),
        (4, [SECOND, DAVE, KEEPER], True),
        (5, [SECOND, DAVE], False),
        (5, [SECOND, DAVE, KEEPER], True),
    ],
)
def test_more_than_half_of_all_servers_have_to_agree_so_of_two_never(
    servers: int, by: list[SigningKey], enough: bool
) -> None:
    assert (agree(servers, *by) == "") is enough


def without(scribe: Scribe, *removed: SigningKey) -> Manifest:
    """The newest manifest, which is not in force in the run yet."""
    newest = scribe.chain.manifest
    for each in removed:
        unsigned = without_member(newest, id_of(each), by=id_of(ADMIN), time=TIME)
        newest = scribe.read_manifest(scribe.next_manifest(unsigned).cid)
    return newest


def agreed(scribe: Scribe, words: Iterable[Block], newest: Manifest | None = None) -> Agreement | None:
    manifest, record = scribe.chain.manifest, scribe.sign(scribe.dispatch(), SERVER)
    return agreement(record, words, manifest, newest or manifest)


@pytest.mark.parametrize(
    "another",
    [{}, {"told": OTHERWISE}, {"told": NOTHING}, {"term": 2}, {"height": 3}, {"head": CONTENT}],
    ids=["the same", "another content", "nothing", "another term", "another height", "another record"],
)
@pytest.mark.parametrize("is_removed", [False, True])
def test_what_servers_agree_on_is_a_takeover_by_every_rule_whatever_else_one_says(
    another: dict[str, Any], *, is_removed: bool
) -> None:
    scribe = Scribe(FIVE_SERVERS)
    scribe.add(scribe.run())
    words = [word(scribe, STRANGER, **another), *(word(scribe, each) for each in MOST)]
    found = agreed(scribe, words, without(scribe, *[STRANGER] if is_removed else []))
    assert found is not None
    scribe.leader = SECOND
    scribe.add(against(scribe, *found.words, voters=(*MOST, ALICE, BOB), record=found.against.cid))
    assert (id_of(STRANGER) in found.by) is (not another and not is_removed)


def test_servers_that_were_removed_do_not_count_and_are_of_those_of_whom_it_takes_most() -> None:
    scribe = Scribe(FIVE_SERVERS)
    scribe.add(scribe.run())
    words = [word(scribe, each) for each in MOST]
    assert agreed(scribe, words) is not None
    assert agreed(scribe, words, without(scribe, KEEPER)) is None


# -- promises ------------------------------------------------------------------------------------------------------


def _promise(scribe: Scribe, *, in_dispute: bool) -> tuple[Record, Record, Record]:
    """Dave's vote, the head that it names, and Dave's own word about the record above that head."""
    assert scribe.chain.head is not None
    vote = scribe.vote(DAVE, against=disputed(scribe) if in_dispute else None)
    head = Block(scribe.chain.head, scribe.source[scribe.chain.head])
    return parse_record(scribe.sign(vote, DAVE)), parse_record(head), parse_record(word(scribe, DAVE, ELSE))


@pytest.mark.parametrize("in_dispute", [True, False])
def test_who_votes_against_a_record_that_it_had_verified_breaks_no_promise(in_dispute: bool) -> None:
    vote, head, said = _promise(three_servers(), in_dispute=in_dispute)
    assert isinstance(vote.body, Vote)
    assert (broken_promise(vote, head, said) is None) is in_dispute

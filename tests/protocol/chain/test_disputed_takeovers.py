"""A run goes on from before a record that most servers contradict, and the chain shows why."""

from __future__ import annotations

import pytest
from chains import ALICE, BOB, DAVE, KEEPER, MEMBERS, SECOND, SERVER, STRANGER, Scribe, id_of, member
from disputed_runs import ELSE, WITNESSES, against, disputed, three_servers, word

from crypto.keys import SigningKey
from protocol.blocks.cid import Block
from protocol.chain.chain import Step
from protocol.chain.closure import missing
from protocol.records.bodies import RecomputedAck, Role, Vote
from protocol.records.broken_promises import broken_promise
from protocol.records.signed_records import Record, body_value, parse_record
from protocol.witnesses.agreement import why_no_agreement


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

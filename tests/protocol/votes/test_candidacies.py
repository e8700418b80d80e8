"""A candidate's way to the lead, in the order in which it goes: canvass, votes, victory or another try."""

from __future__ import annotations

from dataclasses import replace

import pytest
from elections import (
    ANN,
    BOB,
    ELECTORATE,
    EXCHANGED,
    LEADER,
    NEW,
    NEWER,
    NEWEST,
    OTHER,
    SERVERS,
    THIRD,
    at,
    cid,
    promise,
    told,
    voter,
)

from protocol.votes.candidacy import MAX_RAISE, Candidacy, stand
from protocol.votes.electorate import Electorate
from protocol.votes.reports import Reports
from protocol.wire.announcements import Canvass, Refusal, VoteAsked


def standing(**other: object) -> Candidacy:
    candidacy = stand(voter(OTHER, **other))
    assert isinstance(candidacy, Candidacy)
    return candidacy


def willing(*members: bytes) -> Candidacy:
    candidacy = standing()
    for member in members:
        candidacy = candidacy.answered(member, told())
    return candidacy


def test_it_stands_in_the_term_after_all_that_it_knows() -> None:
    assert standing().term == 2
    assert standing(promise=promise(4)).term == 5
    candidacy = stand(voter(OTHER), reported=7)
    assert isinstance(candidacy, Candidacy)
    assert candidacy.term == 8


@pytest.mark.parametrize(
    ("other", "why"),
    [
        ({"hears_leader": True}, Refusal.LEADER_HEARD),
        ({"is_closed": True}, Refusal.CLOSED),
        ({"is_copied": True}, Refusal.COPIED),
        ({"floor": None}, Refusal.FORGOTTEN),
        ({"electorate": replace(ELECTORATE, candidates=frozenset({LEADER}))}, Refusal.NO_CANDIDATE),
    ],
)
def test_it_does_not_ask_of_others_what_it_would_refuse(other: dict[str, object], why: Refusal) -> None:
    assert stand(voter(OTHER, **other)) is why


def test_it_canvasses_before_it_asks() -> None:
    candidacy = standing()
    assert isinstance(candidacy.question, Canvass)
    assert not candidacy.may_ask
    assert isinstance(candidacy.asking().question, VoteAsked)


def test_it_asks_once_a_strict_majority_is_willing_itself_among_them() -> None:
    assert not willing(ANN).may_ask  # 2 of 5
    assert willing(ANN, BOB).may_ask
    assert not willing(ANN, ANN).may_ask
    assert not willing(ANN, bytes(32)).may_ask  # a stranger, or a member without a vote


def test_of_an_even_number_half_is_no_majority() -> None:
    four = Electorate(ELECTORATE.manifest, frozenset({LEADER, OTHER, ANN, BOB}), SERVERS)
    candidacy = standing(electorate=four)
    assert not candidacy.answered(ANN, told()).may_ask
    assert candidacy.answered(ANN, told()).answered(BOB, told()).may_ask


def test_who_takes_its_word_back_is_willing_no_more() -> None:
    candidacy = willing(ANN, BOB).answered(BOB, told(refusal=Refusal.LEADER_HEARD))
    assert not candidacy.may_ask
    assert candidacy.refusals == {(BOB, Refusal.LEADER_HEARD)}


def test_an_answer_about_another_term_another_run_or_to_another_candidate_makes_nobody_willing() -> None:
    candidacy = willing(ANN)
    assert candidacy.answered(BOB, told(by_term=3)) == candidacy
    assert candidacy.answered(BOB, replace(told(), to=THIRD)) == candidacy
    assert candidacy.answered(BOB, replace(told(), run=cid("another"))) == candidacy


def test_it_has_won_with_the_votes_of_a_strict_majority_in_rising_order_of_voter() -> None:
    candidacy = willing(ANN, BOB).asking().voted(OTHER, cid("own")).voted(BOB, cid("bob"))
    assert not candidacy.has_won
    assert not candidacy.voted(BOB, cid("another of bob")).has_won
    assert not candidacy.voted(bytes(32), cid("a stranger's")).has_won
    assert candidacy.voted(ANN, cid("ann")).has_won
    assert candidacy.voted(ANN, cid("ann")).won_with == (cid("own"), cid("ann"), cid("bob"))


def test_a_higher_term_beats_it() -> None:
    assert not standing().is_beaten
    assert standing().answered(ANN, told(highest=2, refusal=Refusal.OLD_TERM)).is_beaten
    asking = willing(ANN, BOB).asking()
    assert not asking.answered(ANN, told(highest=2, refusal=Refusal.OLD_TERM)).is_beaten  # ann may have voted for us
    beaten = asking
    for member in (ANN, BOB, THIRD):
        assert not beaten.is_beaten  # whoever says so may lie, and the others are a majority
        beaten = beaten.answered(member, told(highest=3, refusal=Refusal.OLD_TERM))
    assert beaten.is_beaten
    again = stand(voter(OTHER, promise=promise(2)), beaten.highest)
    assert isinstance(again, Candidacy)
    assert again.term == 4


def test_one_member_that_reports_huge_terms_does_not_keep_it_from_the_lead() -> None:
    candidacy = standing().answered(THIRD, told(highest=2**62, refusal=Refusal.OLD_TERM))
    assert not candidacy.is_beaten
    candidacy = candidacy.answered(THIRD, told(highest=1 + MAX_RAISE, refusal=Refusal.OLD_TERM))
    again = stand(voter(OTHER), candidacy.highest)
    assert isinstance(again, Candidacy)
    assert again.term == 2 + MAX_RAISE
    assert not again.answered(THIRD, told(again.term, again.term, Refusal.OLD_TERM)).is_beaten
    assert voter(ANN).refuses(OTHER, again.question) is None


def test_terms_that_a_majority_has_left_behind_are_believed_however_high_they_are() -> None:
    candidacy = standing().answered(THIRD, told(highest=2**62, refusal=Refusal.LEADER_HEARD))
    for member in (ANN, BOB):
        candidacy = candidacy.answered(member, told(highest=500, refusal=Refusal.OLD_TERM))
    assert not candidacy.is_beaten
    assert candidacy.left_behind == 500
    again = stand(voter(OTHER), left_behind=candidacy.left_behind)
    assert isinstance(again, Candidacy)
    assert again.term == 501
    again = again.answered(ANN, told(501, 501 + 40, Refusal.OLD_TERM))
    assert again.is_beaten, "or it would be behind by as much as is promised in the life of a candidacy, for ever"


def test_a_liar_takes_no_candidate_above_the_others_or_what_they_would_vote_for() -> None:
    candidacy = standing().answered(THIRD, told(highest=2**62, refusal=Refusal.OLD_TERM))
    assert candidacy.answered(ANN, told()).answered(BOB, told()).left_behind == 1
    again = stand(voter(OTHER), left_behind=candidacy.answered(ANN, told()).left_behind)  # no other has answered
    assert isinstance(again, Candidacy)
    assert voter(ANN).refuses(OTHER, again.question) is None


NOW = 1e9
"""Seconds since 1970: nobody votes above the term 10^12."""


def leaping(*claims: int, leapt: int = 0) -> Candidacy:
    candidacy = stand(voter(OTHER, now=NOW), claims=claims, leapt=leapt)
    assert isinstance(candidacy, Candidacy)
    return candidacy


def test_it_goes_at_once_where_one_voter_was_led_and_all_the_others_follow() -> None:
    refused = leaping().answered(ANN, told(highest=10**9, refusal=Refusal.OLD_TERM))
    assert refused.is_beaten
    again = leaping(leapt=refused.highest)
    assert again.term == 10**9 + 1
    for member in (ANN, BOB):
        assert voter(member, now=NOW).refuses(OTHER, again.question) is None


def test_it_leaps_no_further_than_time_has_come() -> None:
    candidacy = leaping(10**12 - 1, 10**12, 2**62)
    assert candidacy.term == 10**12
    assert not leaping().answered(THIRD, told(highest=10**12, refusal=Refusal.OLD_TERM)).is_beaten


def test_it_leaps_once_so_one_that_names_higher_and_higher_terms_does_not_hold_it_up() -> None:
    leapt = leaping(leapt=10**9)
    assert not leapt.answered(THIRD, told(leapt.term, 10**9 + MAX_RAISE + 1, Refusal.OLD_TERM)).is_beaten


def test_it_remembers_what_single_voters_say_as_it_asks_for_votes() -> None:
    asking = willing(ANN, BOB).asking().answered(THIRD, told(highest=10**9, refusal=Refusal.OLD_TERM))
    assert not asking.is_beaten
    assert asking.claims == {10**9}
    assert leaping(*asking.claims).term == 10**9 + 1


def test_what_it_leapt_to_is_not_what_a_majority_has_left_behind() -> None:
    leapt = leaping(leapt=10**9)
    assert leapt.leaps
    assert leapt.answered(ANN, told(leapt.term)).answered(BOB, told(leapt.term)).left_behind == 1


def test_it_learns_of_the_head_that_it_lacks() -> None:
    behind = standing().answered(ANN, told(refusal=Refusal.BEHIND, position=at(7)))
    behind = behind.answered(BOB, told(refusal=Refusal.BEHIND, position=at(6)))
    assert behind.ahead == at(7)
    assert standing().answered(ANN, told(refusal=Refusal.AHEAD, position=at(3))).ahead is None


def test_a_restored_home_hears_a_majority_of_others() -> None:
    reports = Reports().heard(BOB, 2).heard(THIRD, 4).heard(BOB, 1)
    assert reports.floor(ANN, ELECTORATE) is None
    assert reports.heard(ANN, 9).floor(ANN, ELECTORATE) is None  # its own word is none
    assert reports.heard(bytes(32), 9).floor(ANN, ELECTORATE) is None
    assert reports.heard(LEADER, 3).floor(ANN, ELECTORATE) == 4


def test_one_that_reports_what_is_not_so_does_not_keep_a_restored_home_from_voting() -> None:
    reports = Reports().heard(THIRD, 2**62, at(2**40, 2**62)).heard(bytes(32), 2**62, at(2**40, 2**62))
    for other, highest, position in ((BOB, 2, at(5)), (LEADER, 1, None)):
        assert reports.head(ANN, ELECTORATE) is None
        reports = reports.heard(other, highest, position)
    reports = reports.heard(OTHER, 3, at(6))
    assert reports.floor(ANN, ELECTORATE) == 3
    assert reports.head(ANN, ELECTORATE) == (1, 6)


def test_after_other_voters_came_into_force_it_takes_both_majorities() -> None:
    candidacy = stand(voter(OTHER, electorate=EXCHANGED))
    assert isinstance(candidacy, Candidacy)
    assert not EXCHANGED.is_majority(frozenset({OTHER, ANN, BOB}))
    assert not EXCHANGED.is_majority(frozenset({LEADER, NEW, NEWER, NEWEST}))
    for each in (NEW, NEWER, NEWEST):
        candidacy = candidacy.answered(each, told())
    assert not candidacy.may_ask
    for each in (ANN, BOB):
        candidacy = candidacy.answered(each, told())
    assert candidacy.may_ask


def test_people_are_told_of_the_voters_that_are_lacking() -> None:
    assert EXCHANGED.count(frozenset({LEADER, NEW, NEWER})) == (1, 5, 3)
    assert EXCHANGED.count(frozenset({LEADER, NEW, OTHER, ANN})) == (2, 4, 3)
    assert EXCHANGED.count(frozenset({LEADER, NEW, NEWER, OTHER, ANN})) == (3, 4, 3)


def test_a_restored_home_hears_a_majority_of_the_voters_before_too() -> None:
    reports = Reports().heard(LEADER, 2).heard(NEW, 2).heard(NEWER, 2)
    assert reports.floor(ANN, EXCHANGED) is None
    assert reports.heard(OTHER, 3).heard(BOB, 2).floor(ANN, EXCHANGED) == 3


def test_a_candidacy_is_a_value() -> None:
    assert len({willing(ANN, BOB), willing(BOB, ANN), willing(ANN)}) == 2

"""Whom a voter votes for: Raft sections 5.2 and 5.4.1, dissertation 4.2.3 and 9.6, and what a member may lie about."""

from __future__ import annotations

from dataclasses import replace

import pytest
from elections import ANN, ELECTORATE, LEADER, OTHER, SERVERS, THIRD, at, candidature, cid, promise, voter

from protocol.votes.promise import is_outvoted
from protocol.votes.voter import LAST_TERM, LEAP, TERMS_A_SECOND
from protocol.wire.announcements import Refusal


def test_a_voter_votes_for_a_server_with_its_own_newest_head_in_the_next_term() -> None:
    assert voter().refuses(OTHER, candidature(at(5))) is None


@pytest.mark.parametrize("term", [0, 1])
def test_no_vote_in_a_term_that_was_seen(term: int) -> None:
    assert voter().refuses(OTHER, candidature(at(5), term)) is Refusal.OLD_TERM


def test_one_vote_a_term() -> None:
    has_voted = voter(promise=promise(2, OTHER))
    assert has_voted.refuses(THIRD, candidature(at(5), 2)) is Refusal.OLD_TERM
    assert has_voted.refuses(THIRD, candidature(at(5), 3)) is None


def test_the_same_vote_is_given_again_and_no_other_to_the_same_candidate() -> None:
    has_voted = voter(promise=promise(2, OTHER), hears_leader=True)
    assert has_voted.has_voted_so(OTHER, candidature(at(5), 2))
    assert not has_voted.has_voted_so(OTHER, candidature(at(6), 2))  # it has changed its head within the term
    assert not has_voted.has_voted_so(THIRD, candidature(at(5), 2))
    assert not has_voted.has_voted_so(OTHER, candidature(at(5), 3))


@pytest.mark.parametrize(
    ("theirs", "why"),
    [
        (at(4, 1), Refusal.BEHIND),
        (at(9, 1), Refusal.BEHIND),  # longer, and of an older term: the term comes first
        (at(5, 2, "other"), Refusal.FORKED),
        (at(6, 2), Refusal.AHEAD),
        (at(2, 3), Refusal.AHEAD),  # shorter, and of a newer term
        (at(5, 2), None),
    ],
)
def test_a_head_behind_the_voters_own_gets_no_vote_nor_one_it_has_not_verified(theirs, why) -> None:
    assert voter(newest=at(5, 2)).refuses(OTHER, candidature(theirs, 7)) is why


def test_who_hears_the_leader_helps_nobody_to_depose_it() -> None:
    assert voter(hears_leader=True).refuses(OTHER, candidature(at(5))) is Refusal.LEADER_HEARD


def test_who_has_its_vote_of_late_needs_no_other_though_it_leads() -> None:
    waiting = voter(hears_leader=True, leader=OTHER, waits_for=OTHER)
    assert waiting.refuses(OTHER, candidature(at(5))) is Refusal.LEADER_HEARD
    assert voter(waits_for=OTHER).refuses(THIRD, candidature(at(5))) is None


@pytest.mark.parametrize("candidate", [ANN, bytes(32)])
def test_only_a_server_in_force_is_voted_for(candidate: bytes) -> None:
    assert voter().refuses(candidate, candidature(at(5))) is Refusal.NO_CANDIDATE


def test_who_signed_two_records_at_one_place_is_not_voted_for() -> None:
    assert voter(distrusted=frozenset({OTHER})).refuses(OTHER, candidature(at(5))) is Refusal.NO_CANDIDATE


def test_a_member_without_a_vote_does_not_vote() -> None:
    only_servers = replace(ELECTORATE, voters=SERVERS)
    assert voter(electorate=only_servers).refuses(OTHER, candidature(at(5))) is Refusal.NO_VOTE


def test_no_term_is_promised_that_is_far_above_what_the_voter_knows() -> None:
    assert voter().refuses(OTHER, candidature(at(5), 1 + LEAP)) is None
    assert voter().refuses(OTHER, candidature(at(5), 2 + LEAP)) is Refusal.LEAP
    assert voter().refuses(OTHER, candidature(at(5), 2**63 - 1)) is Refusal.LEAP


def test_all_whose_clocks_are_right_vote_up_to_the_same_term_whatever_they_have_promised() -> None:
    day = 86_400.0
    led = voter(promise=promise(int(TERMS_A_SECOND * day) - 1), now=day)
    assert led.refuses(OTHER, candidature(at(5), int(TERMS_A_SECOND * day))) is None
    assert voter(now=day).refuses(OTHER, candidature(at(5), int(TERMS_A_SECOND * day))) is None
    assert voter(now=day).refuses(OTHER, candidature(at(5), int(TERMS_A_SECOND * day) + 1)) is Refusal.LEAP


def test_a_voter_whose_clock_is_wrong_still_goes_a_few_terms_above_what_it_knows() -> None:
    assert voter(promise=promise(10**12), now=0.0).refuses(OTHER, candidature(at(5), 10**12 + 1)) is None
    assert voter(now=1e30).most == LAST_TERM


def test_a_vote_is_for_the_manifest_in_force_after_the_head() -> None:
    assert voter().refuses(OTHER, candidature(at(5), manifest=cid("newer"))) is Refusal.OTHER_MANIFEST


def test_a_closed_run_needs_no_leader() -> None:
    assert voter(is_closed=True).refuses(OTHER, candidature(at(5))) is Refusal.CLOSED


def test_a_key_that_another_process_may_have_does_not_vote() -> None:
    assert voter(is_copied=True).refuses(OTHER, candidature(at(5))) is Refusal.COPIED


def test_a_home_that_may_have_forgotten_a_vote_votes_above_what_a_majority_reports() -> None:
    assert voter(floor=None).refuses(OTHER, candidature(at(5))) is Refusal.FORGOTTEN
    assert voter(floor=3).refuses(OTHER, candidature(at(5), 3)) is Refusal.FORGOTTEN
    assert voter(floor=3).refuses(OTHER, candidature(at(5), 4)) is None


def test_who_has_promised_a_term_takes_no_lower_one() -> None:
    assert is_outvoted(1, promise(2))
    assert not is_outvoted(2, promise(2))
    assert not is_outvoted(1, None)


def test_a_voter_is_a_value() -> None:
    assert len({voter(), voter(), voter(promise=promise(2))}) == 2
    assert voter(member=LEADER) != voter()

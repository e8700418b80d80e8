"""No order of events breaks the election, and each rule that is broken is found out.

The larger searches run with ``--all``, and for as long as one likes by `election_search`. README.md says what they
cover.
"""

from __future__ import annotations

from dataclasses import replace

import pytest
from election_model import Bounds, Model
from election_rules import RULES, Asked, Rules, term_of, would_vote
from election_search import BEGUN, SEARCHES, Found, Search, load, save

from protocol.votes.electorate import Electorate

SERVERS = Bounds(clients=0, terms=2, height=3)
CLIENTS = Bounds(terms=2, height=2)
DISPUTED = replace(SERVERS, contradicted=(1, 1))
UNDER_WAY = replace(SERVERS, terms=3, height=2, candidacies=True)
ONE_ELECTION = Bounds(terms=2, height=2, ballots=1, restores=True)


def found(bounds: Bounds, rules: Rules, *steps: str) -> Found:
    """What comes of ``rules`` within ``bounds``, after ``steps``."""
    model = Model(bounds, rules)
    with pytest.raises(Found) as caught:
        Search(model, model.after(*steps)).go_on(100_000)
    return caught.value


@pytest.mark.parametrize(
    "bounds",
    [SERVERS, CLIENTS, replace(SERVERS, height=2, slow_disk=True, crashes=1), DISPUTED, UNDER_WAY],
    ids=["servers", "clients", "slow", "disputed", "under way"],
)
def test_at_most_one_leads_a_term_and_what_is_settled_stays(bounds: Bounds) -> None:
    search = Search(Model(bounds))
    assert search.go_on(20_000)
    assert search.seen > 300


@pytest.mark.parametrize("name", SEARCHES)
def test_the_beginning_of_each_search_finds_nothing(name: str) -> None:
    Search(Model(SEARCHES[name])).go_on(1_000)


@pytest.mark.all
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("name", SEARCHES)
def test_each_search_finds_nothing_and_comes_to_its_end_unless_that_is_far(name: str) -> None:
    is_begun = name in BEGUN
    assert Search(Model(SEARCHES[name])).go_on(50_000 if is_begun else 500_000) is not is_begun


def test_a_search_goes_on_where_it_was_left(tmp_path) -> None:
    model, file = Model(CLIENTS), tmp_path / "search"
    whole, part = Search(model), Search(model)
    whole.go_on(20_000)
    part.go_on(100)
    save(part, file)
    rest = load(model, file)
    assert rest.go_on(20_000)
    assert (rest.seen, rest.steps) == (whole.seen, whole.steps)


# -- a broken rule is found ----------------------------------------------------------------------------------------


def test_half_of_the_voters_would_make_two_leaders() -> None:
    def half(candidate: int, votes: tuple[int, ...], by: Electorate) -> bool:
        return 2 * len({*votes}) >= len(by.voters) - 1

    assert "two takeovers in term 2" in found(CLIENTS, replace(RULES, has_won=half)).why


def test_a_vote_that_is_counted_each_time_it_comes_makes_two_leaders() -> None:
    def each_time(candidate: int, votes: tuple[int, ...], by: Electorate) -> bool:
        others = [voter for voter in votes if voter != candidate]
        return 2 * (1 + len(others)) > len(by.voters)

    assert "two takeovers in term 2" in found(CLIENTS, replace(RULES, has_won=each_time)).why


def test_a_candidate_that_has_voted_for_another_since_gives_up_what_it_asked_for() -> None:
    """Otherwise it leads in term 2 and counts itself, while its vote has another lead from before in term 3."""
    goes_on = replace(RULES, gives_up=lambda term, promised: False)
    assert "has voted in term 3, and signs in term 2" in found(UNDER_WAY, goes_on).why
    assert "(1, 2) is settled" in found(UNDER_WAY, replace(goes_on, may_break_promises=True)).why


def test_a_candidate_that_has_canvassed_looks_again_before_it_votes_for_itself() -> None:
    hasty = replace(RULES, looks_again_before_it_asks=False)
    assert "for (1,), and has signed (1, 1)" in found(UNDER_WAY, hasty).why
    assert "votes twice in term 2" in found(UNDER_WAY, replace(hasty, may_break_promises=True)).why


def test_a_leader_does_not_vote_as_if_what_it_signs_were_not_there_before_it_is_on_disk() -> None:
    by_disk, slow = replace(RULES, judges_by_what_is_signed=False), replace(SERVERS, slow_disk=True)
    assert "for (1,), and has signed (1, 1)" in found(slow, by_disk).why
    assert "(1, 1) is settled" in found(slow, replace(by_disk, may_break_promises=True)).why


def test_a_promise_that_a_crash_takes_away_is_given_twice() -> None:
    forgets = replace(RULES, keeps_promises=False)
    assert "votes twice in term 2" in found(replace(SERVERS, crashes=1), forgets).why


def test_a_vote_in_a_term_that_is_promised_makes_two_leaders() -> None:
    def again(asked: Asked) -> bool:
        term, candidate = asked.promised
        return would_vote(replace(asked, promised=(min(term, asked.term - 1), candidate)))

    assert "votes twice" in found(SERVERS, replace(RULES, would_vote=again)).why


def test_a_vote_for_a_head_behind_loses_what_is_settled() -> None:
    def any_head(asked: Asked) -> bool:
        above = asked.term > max(term_of(asked.newest), asked.promised[0])
        return above and would_vote(replace(asked, newest=asked.head, of_voter=asked.of_head))

    behind = replace(RULES, would_vote=any_head)
    assert "0 votes in term 2 for (1,), and has signed (1, 1)" in found(SERVERS, behind).why
    assert "(1, 1) is settled" in found(SERVERS, replace(behind, may_break_promises=True)).why


def test_a_record_of_an_older_term_that_a_majority_has_is_not_settled() -> None:
    """Raft's figure 8."""
    older = replace(RULES, settles_own_term_only=False, counts_for=lambda term, promised: promised <= 3)
    steps = "stands 1 2 (1,)", "votes 2 for 1 2", "wins 1 2", "stands 1 4 (1, 2)", "appends 0 1", "stands 0 3 (1, 1)"
    counterexample = found(replace(SERVERS, terms=4, ballots=3), older, *steps)
    assert counterexample.why == "(1, 1) is settled, and the leader of term 4 has (1, 2, 4)"


def test_who_has_promised_a_higher_term_must_not_count_for_a_lower_one() -> None:
    any_promise = replace(RULES, counts_for=lambda term, promised: True)
    assert "(1, 1) is settled" in found(SERVERS, any_promise).why


def test_a_record_that_is_confirmed_before_it_is_on_disk_is_lost() -> None:
    hasty = replace(RULES, confirms_what_is_durable=False)
    assert found(replace(SERVERS, slow_disk=True, crashes=1), hasty).steps


def test_other_voters_need_a_majority_of_those_before_them_too() -> None:
    newest_only = replace(RULES, asks_voters_before_too=False)
    assert "(1, -1) is settled" in found(SEARCHES["other voters"], newest_only).why


def test_the_voters_before_are_asked_until_their_roster_is_settled() -> None:
    hasty = replace(RULES, waits_with_roster=False)
    assert "is settled" in found(SEARCHES["other voters"], hasty, "appends a roster 0 1").why


def test_a_vote_that_a_home_has_forgotten_is_given_twice_if_it_does_not_expire() -> None:
    forever = replace(RULES, votes_expire=False)
    steps = "stands 1 2 (1,)", "votes 3 for 1 2", "is restored 3", "asks 3", "reports 0 to 3", "reports 2 to 3"
    assert "votes twice in term 2" in found(replace(CLIENTS, restores=True), forever, *steps).why


def test_a_confirmation_that_a_home_has_forgotten_must_expire() -> None:
    forever = replace(RULES, confirmations_expire=False)
    before = "appends 0 1", "verifies 3 (1, 1)", "is restored 3", "asks 3"
    steps = "reports 1 to 3", "reports 2 to 3", "reports 4 to 3", "stands 1 2 (1,)"
    assert "(1, 1) is settled" in found(ONE_ELECTION, forever, *before, *steps).why


def test_a_home_that_has_forgotten_what_it_confirmed_must_catch_up_before_it_votes() -> None:
    hasty = replace(RULES, catches_up_first=False)
    before = "appends 0 1", "verifies 2 (1, 1)", "verifies 3 (1, 1)", "is restored 3", "asks 3"
    assert "(1, 1) is settled" in found(ONE_ELECTION, hasty, *before, "stands 1 2 (1,)").why


def test_a_home_that_may_have_forgotten_a_vote_must_not_confirm_before_it_knows() -> None:
    hasty = replace(RULES, waits_for_reports=False)
    steps = "stands 1 2 (1,)", "votes 3 for 1 2", "votes 4 for 1 2", "is restored 3"
    assert "(1, 1) is settled" in found(ONE_ELECTION, hasty, *steps).why


def test_a_contradicted_record_is_lost_though_it_was_settled() -> None:
    never = replace(RULES, may_lose_contradicted=False)
    assert "(1, 1) is settled" in found(DISPUTED, never).why


def test_who_lays_down_more_than_the_contradicted_record_loses_what_is_settled() -> None:
    too_far = replace(RULES, lays_down=2)
    assert "(1, 1) is settled" in found(replace(DISPUTED, contradicted=(1, 1, 1)), too_far).why

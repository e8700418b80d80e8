"""How long a leader may be silent, and which heights no takeover can lose."""

from __future__ import annotations

import pytest
from elections import ANN, BOB, ELECTORATE, EXCHANGED, LEADER, NEW, NEWER, OTHER, THIRD, at

from protocol.votes.settling import settled_height
from protocol.votes.silence import LEADER_BEAT, LEAST_SILENCE, LONGEST_SILENCE, Silence, jitter


def heard(*gaps: float) -> Silence:
    silence, now = Silence().hears(0.0), 0.0
    for gap in gaps:
        now += gap
        silence = silence.hears(now)
    return silence


def test_three_beats_of_a_leader_that_is_heard_evenly() -> None:
    assert LEAST_SILENCE == 1.5
    assert heard(*[LEADER_BEAT] * 20).seconds == pytest.approx(LEAST_SILENCE)
    assert heard(*[LEADER_BEAT, 0.25] * 20).seconds == pytest.approx(
        LEAST_SILENCE
    )  # what it says between two beats changes nothing


def test_uneven_beats_make_it_longer_and_even_ones_short_again() -> None:
    uneven = heard(*[LEADER_BEAT, 1.5] * 10)
    assert uneven.seconds > 2.5
    for _ in range(200):
        uneven = uneven.hears(uneven.heard + LEADER_BEAT)
    assert uneven.seconds < LEAST_SILENCE + 0.1


def test_it_has_an_upper_bound_whatever_the_leader_does() -> None:
    assert heard(*[1e6] * 9).seconds <= LONGEST_SILENCE
    assert Silence(least=60.0).seconds == 60.0


def test_seconds_in_which_nothing_could_reach_us_count_against_nobody() -> None:
    assert Silence().hears(0.0).hears(100.0, offline=99.5).seconds == pytest.approx(LEAST_SILENCE)


def test_nobody_waits_for_a_leader_that_has_left() -> None:
    assert heard(1.0).left().heard < 0


def test_no_two_candidates_wait_alike_and_each_failure_makes_the_next_rarer() -> None:
    first = {jitter(bytes([number]) * 16, 0) for number in range(50)}
    assert len(first) == 50
    assert max(first) < LEADER_BEAT
    assert max(jitter(bytes([number]) * 16, 9) for number in range(50)) > 4 * LEADER_BEAT
    assert jitter(b"s" * 16, 3) == jitter(b"s" * 16, 3)


@pytest.mark.parametrize(
    ("confirmed", "settled"),
    [
        ({LEADER: at(9)}, None),
        ({LEADER: at(9), OTHER: at(7), ANN: at(5)}, 5),
        ({LEADER: at(9), OTHER: at(7), ANN: at(5), BOB: at(6)}, 6),
        ({LEADER: at(9), OTHER: at(7), bytes(32): at(9)}, None),
    ],
)
def test_a_height_is_settled_once_a_majority_has_confirmed_it(confirmed, settled) -> None:
    assert settled_height(confirmed, ELECTORATE, 1) == settled


def test_after_other_voters_came_into_force_a_height_is_settled_by_both_majorities() -> None:
    confirmed = {LEADER: at(9), NEW: at(8), NEWER: at(7)}
    assert settled_height(confirmed, EXCHANGED, 1) is None
    assert settled_height({**confirmed, ANN: at(6), BOB: at(9)}, EXCHANGED, 1) == 6


def test_a_record_of_an_older_term_is_settled_only_through_one_of_the_leaders_own() -> None:
    older = {LEADER: at(4, 3), OTHER: at(3, 2), THIRD: at(3, 2), ANN: at(3, 2)}
    assert settled_height(older, ELECTORATE, 3) is None
    newer = {**older, OTHER: at(4, 3), ANN: at(4, 3)}
    assert settled_height(newer, ELECTORATE, 3) == 4

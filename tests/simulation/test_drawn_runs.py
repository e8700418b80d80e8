"""Whatever is lost, late, cut off, crashes or lies, and whoever leads: a drawn run ends as the undisturbed one does.

At each step at most one server leads in a term, what is settled stays, and what is announced is kept (`sim_terms`,
`sim_witness`). ``pytest tests/simulation --seeds 5000`` tries more. A failure prints its seed, which repeats
it exactly.
"""

from __future__ import annotations

from typing import Final

import pytest
from sim_drawn import alone_with_one, any_run, assert_as_undisturbed, guarded, takeover

SEEDS: Final = 200
WITH_ALL: Final = 1200
PIECE: Final = 10
"""Seeds of one test: so the workers share them, and a test takes seconds."""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "first" in metafunc.fixturenames:
        seeds = metafunc.config.getoption("--seeds") or (WITH_ALL if metafunc.config.getoption("--all") else SEEDS)
        metafunc.parametrize("first", range(0, seeds, PIECE))


def test_drawn_runs_end_as_the_undisturbed_ones(first: int) -> None:
    for seed in range(first, first + PIECE):
        any_run(seed)


@pytest.mark.parametrize("number", [189, 348, 578, 739, 1517, 1858, 3085, 5244, 5798])
def test_what_a_drawn_run_once_found_stays_mended(number: int) -> None:
    assert_as_undisturbed(takeover(number))


@pytest.mark.parametrize("number", [44, 58, 65, 142, 158])
def test_a_leader_that_was_elected_before_its_word_is_its_predecessors_witness(number: int) -> None:
    assert_as_undisturbed(alone_with_one(number))


def test_a_leader_that_hands_over_while_voters_fall_silent_does_not_spin() -> None:
    assert_as_undisturbed(guarded(25))

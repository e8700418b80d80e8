"""`protocol.replay.differences`: what a difference means, and what it speaks for."""

from __future__ import annotations

import pytest

from protocol.replay.differences import Cause, Difference, Outcome, Reason, judged, ranked

BEYOND, UNDECIDED = Outcome.BEYOND, Outcome.UNDECIDED


def numbers(of_bound: float | None) -> Difference:
    """Numbers that differ, by so much of what rounding can cause."""
    return Difference("a tensor differs", "arrays", "w", largest=1e-7, ulps=3.0, of_bound=of_bound)


OTHER_SHAPE = Difference("a tensor has another shape", "arrays", "w")
ADDRESSEES = None
"""No content differs, but something else does."""


@pytest.mark.parametrize("difference", [numbers(0.1), numbers(None), OTHER_SHAPE, ADDRESSEES])
@pytest.mark.parametrize("flowers_own", [False, True])
def test_in_the_recorded_environment_any_difference_is_beyond(difference: Difference | None, flowers_own: bool) -> None:
    assert judged(difference, Cause.NOTHING, flowers_own=flowers_own) is BEYOND


@pytest.mark.parametrize("difference", [numbers(1e9), numbers(None), OTHER_SHAPE, ADDRESSEES])
@pytest.mark.parametrize("flowers_own", [False, True])
def test_under_other_versions_no_difference_accuses(difference: Difference | None, flowers_own: bool) -> None:
    assert judged(difference, Cause.ANYTHING, flowers_own=flowers_own) is UNDECIDED


@pytest.mark.parametrize(
    ("of_bound", "outcome"), [(0.0, UNDECIDED), (1.0, UNDECIDED), (1.01, BEYOND), (float("inf"), BEYOND)]
)
def test_a_bound_says_from_where_a_difference_is_no_rounding(of_bound: float, outcome: Outcome) -> None:
    assert judged(numbers(of_bound), Cause.ROUNDING, flowers_own=True) is outcome


def test_without_a_bound_rounding_may_cause_any_number() -> None:
    assert judged(numbers(None), Cause.ROUNDING, flowers_own=True) is UNDECIDED


@pytest.mark.parametrize("difference", [OTHER_SHAPE, ADDRESSEES])
def test_rounding_changes_no_shape_and_no_addressee_unless_an_app_decides_by_numbers(
    difference: Difference | None,
) -> None:
    assert judged(difference, Cause.ROUNDING, flowers_own=True) is BEYOND
    assert judged(difference, Cause.ROUNDING, flowers_own=False) is UNDECIDED


SERVER, APP, OTHER, MACHINE, VERSIONS = (
    Reason.SERVER,
    Reason.APP,
    Reason.UNRECORDED,
    Reason.MACHINE,
    Reason.VERSIONS,
)


@pytest.mark.parametrize(
    ("outcome", "cause", "repeats", "reasons"),
    [
        (BEYOND, Cause.NOTHING, True, (SERVER, OTHER)),
        (BEYOND, Cause.NOTHING, None, (SERVER, APP, OTHER)),
        (BEYOND, Cause.ROUNDING, True, (SERVER, OTHER)),
        (BEYOND, Cause.ROUNDING, None, (SERVER, APP, OTHER)),
        (UNDECIDED, Cause.ROUNDING, True, (MACHINE, SERVER, OTHER)),
        (UNDECIDED, Cause.ROUNDING, None, (MACHINE, SERVER, APP, OTHER)),
        (UNDECIDED, Cause.ANYTHING, True, (VERSIONS, MACHINE, SERVER, OTHER)),
        (UNDECIDED, Cause.ANYTHING, None, (VERSIONS, MACHINE, SERVER, APP, OTHER)),
        (UNDECIDED, Cause.NOTHING, False, (APP,)),
        (UNDECIDED, Cause.NOTHING, None, (SERVER, APP, OTHER)),
        (UNDECIDED, Cause.ANYTHING, False, (APP,)),
    ],
)
def test_what_the_evidence_speaks_for_most_comes_first(
    outcome: Outcome, cause: Cause, repeats: bool | None, reasons: tuple[Reason, ...]
) -> None:
    assert ranked(outcome, cause, repeats=repeats) == reasons


def test_what_is_equal_has_no_reason() -> None:
    assert ranked(Outcome.EQUAL, Cause.ANYTHING, repeats=None) == ()

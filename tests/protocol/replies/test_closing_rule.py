"""When an exchange closes early: how many replies are enough, and the texts of that."""

from __future__ import annotations

import pytest

from protocol.replies.closing_rule import (
    AT_ONCE,
    HALF,
    LONGEST_RULE,
    MOST_REPLIES,
    ClosingError,
    ClosingRule,
    Count,
    Share,
    closing_of,
    parse_closing,
    parse_enough,
)


@pytest.mark.parametrize(
    ("enough", "messages", "needed"),
    [
        ("3", 5, 3),
        ("3", 2, 2),  # more than are asked: all of them
        ("80%", 5, 4),
        ("80%", 6, 5),  # rounded up
        ("0.5", 3, 2),
        ("100%", 7, 7),
        ("0.1%", 3, 1),
        ("33.4%", 1000, 334),
        ("1.0", 9, 9),
    ],
)
def test_how_many_replies_are_enough(enough: str, messages: int, needed: int) -> None:
    assert ClosingRule(parse_enough(enough)).needs(messages) == needed


@pytest.mark.parametrize("text", ["0", "0%", "101%", "-1", "1.5", "0.0", "many", "", "८"])
def test_what_is_no_number_of_replies_is_refused(text: str) -> None:
    with pytest.raises(ClosingError):
        parse_enough(text)


@pytest.mark.parametrize("deadline", [0.0, -1.0, float("nan"), float("inf"), 1e9])
def test_what_is_no_deadline_is_refused(deadline: float) -> None:
    with pytest.raises(ClosingError, match="deadline"):
        closing_of(None, deadline)


def test_one_option_alone_has_a_default_for_the_other() -> None:
    assert closing_of(None, None) is None
    assert closing_of("3", None) == ClosingRule(Count(3), AT_ONCE)
    assert closing_of(None, 30.0) == ClosingRule(HALF, 30.0)


@pytest.mark.parametrize(
    "rule",
    [
        ClosingRule(Count(3), AT_ONCE),
        ClosingRule(Share(805), 0.001),
        ClosingRule(HALF, 2_591_999.999),
        ClosingRule(Count(MOST_REPLIES), 30.0),
    ],
    ids=str,
)
def test_a_rule_is_read_from_its_text(rule: ClosingRule) -> None:
    assert parse_closing(str(rule)) == rule
    assert len(str(rule)) <= LONGEST_RULE


@pytest.mark.parametrize(
    "text",
    ["replies=0.8 deadline=30", "replies=80.0% deadline=30", "replies=3 deadline=30.0", "replies=03 deadline=1", ""],
)
def test_a_rule_has_one_text(text: str) -> None:
    with pytest.raises(ClosingError):
        parse_closing(text)

"""An exception of an app is told as Python tells it; whatever else a reason says is no exception."""

from __future__ import annotations

import pytest

from protocol.app.errors import Raised, parse_raised


@pytest.mark.parametrize(
    ("reason", "raised", "told"),
    [
        (
            "<class 'RuntimeError'>:<'out of memory'>",
            Raised("RuntimeError", "out of memory", ""),
            "RuntimeError: out of memory",
        ),
        (
            "<class 'KeyError'>:<''partition-id''>; give it",
            Raised("KeyError", "'partition-id'", "; give it"),
            "KeyError: 'partition-id'",
        ),
        ("<class 'SystemExit'>:<''>", Raised("SystemExit", "", ""), "SystemExit"),
        ("<class 'E'>:<'two\nlines'>", Raised("E", "two\nlines", ""), "E: two\nlines"),
    ],
)
def test_flowers_text_of_an_exception(reason: str, raised: Raised, told: str) -> None:
    assert parse_raised(reason) == raised
    assert str(raised) == told


@pytest.mark.parametrize("reason", ["", "refused (weight): less than 0", "<class 'E'>", f"<class '{'E' * 999}'>:<''>"])
def test_what_is_no_exception(reason: str) -> None:
    assert parse_raised(reason) is None

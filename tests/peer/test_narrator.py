"""What a running peer tells people."""

from __future__ import annotations

import pytest

from peer.narrator import line_of
from protocol.effects import Report, What


@pytest.mark.parametrize(
    "report",
    [
        Report(What.RUN_FOLLOWED, {"run": "r", "app": "\x1b[2J"}),
        Report(What.APP_UNAPPROVED, {"run": "r", "app": "a", "name": "\x1b[2J"}),
        Report(What.RUN_REFUSED, {"name": "b", "why": "\x1b[2J"}),
    ],
    ids=lambda report: report.what.value,
)
def test_what_others_call_things_does_not_reach_the_terminal_as_it_is(report: Report) -> None:
    assert "\\x1b[2J" in line_of(report)


def test_a_client_that_waits_is_told_the_two_commands() -> None:
    line = line_of(Report(What.APP_UNAPPROVED, {"run": "r", "app": "CID", "name": "n"}))
    assert "`peer app show CID`" in line
    assert "`peer app approve CID`" in line

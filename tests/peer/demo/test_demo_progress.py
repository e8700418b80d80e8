"""What a demo makes of its processes' logs."""

from __future__ import annotations

import json

import pytest

from peer.demo.processes import LogEvent, parse_line
from peer.demo.progress import Activity, ClientProgress, Progress
from protocol.roles.effects import What


def event(peer: str, what: What, **fields: str | int) -> LogEvent:
    return LogEvent(peer, what, fields)


def progress_after(*events: LogEvent) -> Progress:
    progress = Progress({"client-1": ClientProgress(), "client-2": ClientProgress()}, rounds=2)
    for each in events:
        progress.take(each)
    return progress


def test_a_report_in_a_log_is_read_with_its_fields() -> None:
    line = json.dumps({"time": 1.0, "level": "info", "event": "collected", "height": 4, "head": "bafy"})
    read = parse_line("server", line)
    assert read is not None
    assert (read.what, read.text("head")) == (What.COLLECTED, "bafy")


@pytest.mark.parametrize(
    "line",
    [
        "",
        "Traceback (most recent call last):",
        "[1]",
        '{"run": "bafy"}',
        '{"event": "of-another-program"}',
        '{"event": 1}',
    ],
)
def test_other_lines_of_a_log_are_no_reports(line: str) -> None:
    assert parse_line("server", line) is None


def test_a_client_is_shown_at_the_work_it_has_begun() -> None:
    progress = progress_after(event("client-1", What.TASK_STARTED, type="train"))
    assert progress.clients["client-1"].activity is Activity.TRAINING
    assert progress.clients["client-2"].activity is Activity.STARTING


def test_the_round_is_that_of_the_foremost_client() -> None:
    train, answered = (
        event("client-2", What.TASK_STARTED, type="train"),
        event("client-2", What.TASK_ANSWERED),
    )
    evaluate = event("client-2", What.TASK_STARTED, type="evaluate")
    assert progress_after(train, answered, evaluate, answered, train).round == 2


def test_the_head_goes_with_the_servers_reports() -> None:
    progress = progress_after(
        event("server", What.DISPATCHED, head="first"),
        event("server", What.RUN_CLOSED, head="last", outcome="returned"),
        event("client-1", What.RUN_CLOSED, head="another"),
    )
    assert (progress.head, progress.closed) == ("last", True)

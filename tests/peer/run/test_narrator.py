"""What a running peer tells people."""

from __future__ import annotations

from pathlib import Path

import pytest

from peer.run.narrator import Narrator, line_of
from protocol.roles.effects import Report, What
from protocol.roles.waiting import Awaited


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


def test_each_of_several_names_is_quoted_by_itself_if_it_has_to_be() -> None:
    waiting = Report(What.WAITING, {"lacking": Awaited.WITNESSES.value, "whom": "b, \x1b[2J, c", "version": 1})
    assert line_of(waiting) == 'waiting for b, "\\x1b[2J", c to recompute the model before training on it'


def test_a_client_that_cannot_run_the_built_in_app_says_why_before_a_run() -> None:
    line = line_of(Report(What.BUILT_IN_APP_UNFIT, {"why": "it lacks a part"}))
    assert line == "this client takes no part in runs of the built-in app: it lacks a part"


def test_a_client_that_waits_is_told_the_two_commands() -> None:
    line = line_of(Report(What.APP_UNAPPROVED, {"run": "r", "app": "CID", "name": "n"}))
    assert "`peer app show CID`" in line
    assert "`peer app approve CID`" in line


def test_a_client_that_is_away_and_owes_an_answer_is_told_with_the_time_left() -> None:
    away = {"name": "b", "answer_within": 40.4}
    assert line_of(Report(What.PEER_AWAY, away)) == "b is away; waiting for its answer, at most 40 s more"
    assert line_of(Report(What.PEER_AWAY, {**away, "answer_within": None})) == "b is away"


def test_an_app_that_waits_for_clients_is_told_with_how_many_and_who_was_heard_last() -> None:
    few = {"here": 1, "clients": 3, "refusing": 0, "last": "b", "ago": 39.7}
    line = "the app waits for clients: 1 of the federation's 3 are here"
    assert line_of(Report(What.APP_WAITS_FOR_CLIENTS, few)) == f"{line}; b was heard last, 40 s ago"
    none_lost = {**few, "refusing": 2, "last": None, "ago": None}
    assert line_of(Report(What.APP_WAITS_FOR_CLIENTS, none_lost)) == f"{line}, 2 more take no part"


def test_an_app_that_asks_for_more_clients_than_there_are_is_told_so() -> None:
    all_here = {"here": 3, "clients": 3, "refusing": 0, "last": None, "ago": None}
    assert "min_available_nodes" in line_of(Report(What.APP_WAITS_FOR_CLIENTS, all_here))


@pytest.mark.parametrize("lacking", Awaited, ids=str)
def test_whatever_is_waited_for_has_its_line(lacking: Awaited) -> None:
    assert line_of(Report(What.WAITING, {"lacking": lacking.value, "version": 2})).startswith("waiting for ")


FAILED = {"name": "b", "type": "train", "round": 2, "code": 2, "why": "<class 'KeyError'>:<''x''>; give it"}


def test_an_apps_error_is_told_with_member_round_exception_and_on_the_client_its_log() -> None:
    told = "b failed on a train message of round 2: KeyError: \"'x'\"; give it"
    assert line_of(Report(What.REPLY_FAILED, FAILED)) == told
    assert line_of(Report(What.TASK_FAILED, FAILED), Path("/a.log")) == f"{told}; the app's log is /a.log"
    assert line_of(Report(What.REPLY_FAILED, {**FAILED, "type": "evaluate"})).startswith(
        "b failed on an evaluate message"
    )
    assert line_of(Report(What.REPLY_FAILED, {**FAILED, "round": None, "code": 1, "why": "y"})) == (
        'b could not load its app for a train message: "y"'
    )


def test_an_error_of_any_length_and_text_is_one_line() -> None:
    line = line_of(Report(What.REPLY_FAILED, {**FAILED, "why": "<class 'E'>:<'" + "\n\x1b[2J" * 500 + "'>; give it"}))
    assert len(line.splitlines()) == 1
    assert len(line) < 3_000
    assert line.endswith("; give it")


def test_a_run_that_ended_with_an_error_is_not_told_as_closed() -> None:
    closed = {"run": "r", "head": "h", "outcome": "raised", "why": "<class 'ValueError'>:<'no'>"}
    assert line_of(Report(What.RUN_CLOSED, closed)) == (
        'run r ended with an error (head h): the ServerApp raised ValueError: "no"'
    )
    assert line_of(Report(What.RUN_CLOSED, {**closed, "why": "no reply was valid"})) == (
        'run r ended with an error (head h): "no reply was valid"'
    )
    assert line_of(Report(What.RUN_CLOSED, {**closed, "outcome": "returned"})) == "run r is closed: head h"


def said_of(*reports: Report) -> list[str]:
    said: list[str] = []
    narrator = Narrator(said.append)
    for report in reports:
        narrator.tell(report)
    return said


def test_clients_that_all_wait_for_their_owners_are_each_told_of_once() -> None:
    refusals = [Report(What.RUN_REFUSED, {"name": name, "why": "its owner has not approved it"}) for name in "abc"]
    assert len(said_of(*(refusals * 15))) == 3


def test_another_reason_or_another_coming_is_told() -> None:
    def here(what: What, why: str | None = None) -> Report:
        return Report(what, {"name": "a", "why": why, "answer_within": None})

    refused, other = here(What.RUN_REFUSED, "no"), here(What.RUN_REFUSED, "still no")
    assert len(said_of(refused, other, refused)) == 3
    assert len(said_of(here(What.PEER_HERE), here(What.PEER_AWAY), here(What.PEER_HERE), refused)) == 4


def test_a_newcomer_that_asks_again_and_again_is_told_of_once() -> None:
    pending = [Report(What.JOIN_PENDING, {"name": name}) for name in "ab"]
    assert len(said_of(*(pending * 15))) == 2


def test_what_happens_again_is_told_again() -> None:
    answered = {"round": 2, "seconds": 1.5, "metrics": "loss 0.1"}
    tasks = [Report(What.TASK_STARTED, {"type": "train"}), Report(What.TASK_ANSWERED, answered)]
    assert len(said_of(*(tasks * 3))) == 6


@pytest.mark.parametrize(
    ("clients", "whom", "said"),
    [(1, "bob", "closed without bob: "), (7, "bob, carol", "closed without bob, carol and 5 more: ")],
)
def test_whom_an_exchange_did_not_wait_for_is_told_with_the_reason(clients: int, whom: str, said: str) -> None:
    told = {"whom": whom, "clients": clients, "why": "2 of 3 replies were in", "round": 4}
    line = line_of(Report(What.LEFT_OUT, told))
    assert line == f"an exchange of round 4 {said}2 of 3 replies were in"

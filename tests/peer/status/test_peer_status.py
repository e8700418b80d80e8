"""The status of a home as JSON, and as lines for people."""

from __future__ import annotations

import dataclasses

import pytest
from statuses import HEAD, NOW, RUN, a_status, client

from peer.base.terminal import Coloured
from peer.cli.seeing.status_output import status_lines
from peer.status.peer_status import PeerStatus
from peer.web.prometheus import exposition
from protocol.blocks.json_values import NotOfKind, from_json_value, json_value
from protocol.status.lateness import Lateness
from protocol.status.role_status import Best, Doing, Lack, Wait


def lines(status: PeerStatus, *, full: bool = False) -> list[str]:
    return [
        "".join(part.text if isinstance(part, Coloured) else part for part in line)
        for line in status_lines(status, full=full)
    ]


def line_with(status: PeerStatus, text: str) -> str:
    return next(line for line in lines(status) if text in line)


def test_what_json_says_is_read_as_the_same_status() -> None:
    assert from_json_value(json_value(a_status()), PeerStatus) == a_status()


@pytest.mark.parametrize("spoiled", [{"schema": "pollen/status/2"}, {"at": "now"}, {"parts": [{}]}])
def test_what_is_no_status_is_refused(spoiled: dict[str, object]) -> None:
    with pytest.raises(NotOfKind):
        from_json_value({**json_value(a_status()), **spoiled}, PeerStatus)


def test_lines_say_the_round_who_works_and_until_when() -> None:
    status = a_status()
    assert line_with(status, "round") == "round       2 of 5: loss 0.25 (mean)"
    assert line_with(status, "waits for").startswith("waits for   the answers of alice, until ")
    assert line_with(status, "  alice") == "  alice  working    2 answers, last in 1.5 s: loss 0.25"
    assert "230 kB sent" in line_with(status, "engine")
    assert "1 MB stored, 500 kB more in 60 min, 500 kB/h; 12 GB free" in line_with(status, "disk")
    assert lines(status)[-1].endswith("a reply of bob is not taken: no")


def test_ids_are_labels_unless_whole_ones_are_asked_for() -> None:
    assert str(RUN) not in "\n".join(lines(a_status()))
    assert RUN.label in line_with(a_status(), "run  ")
    assert {str(RUN), str(HEAD)} <= set(" ".join(lines(a_status(), full=True)).replace(":", " ").split())


def test_lines_fit_into_80_columns() -> None:
    members = [client(f"hospital-{n}", doing) for n, doing in enumerate(Doing)]
    assert max(map(len, lines(a_status(*members)))) <= 80


def with_best(best: Best) -> PeerStatus:
    return with_run(best=best)


def with_run(**changes: object) -> PeerStatus:
    status = a_status()
    (part,) = status.parts
    assert part.role.run is not None
    role = dataclasses.replace(part.role, run=dataclasses.replace(part.role.run, **changes))
    return dataclasses.replace(status, parts=(dataclasses.replace(part, role=role),))


def test_the_best_model_is_told_by_its_round() -> None:
    best = line_with(with_best(Best("loss:min", 2, 0.25, resumed=False)), "best")
    assert best == "best        round 2: loss 0.25, the smallest mean"
    none_yet = line_with(with_best(Best("a\nb:max", None, None, resumed=True)), "best")
    assert none_yet.startswith("best        none yet since it went on, by ")
    assert "\n" not in none_yet


def test_a_run_that_was_taken_over_has_a_term_and_who_leads_it() -> None:
    assert line_with(with_run(term=3, leader="hospital b"), "term") == 'term        3, led by "hospital b"'
    assert not any(line.startswith("term") for line in lines(a_status())), "one leader from the start"


def test_why_a_member_takes_no_part_cannot_break_its_quotation() -> None:
    status = a_status(client("bob", Doing.REFUSING, why='no"\nverified: \x1b[2Jall'))
    assert line_with(status, "bob").endswith('"no\\"\\nverified: \\x1b[2Jall"')


def test_a_home_without_a_running_peer_says_so_first() -> None:
    status = a_status(running=False, health=None)
    assert lines(status)[0] == "no peer runs with the home /home"


def test_an_engine_that_does_not_answer_is_told_with_its_reason() -> None:
    health = a_status().health
    assert health is not None
    silent = dataclasses.replace(health, engine=None, trouble="connection refused")
    assert line_with(a_status(health=silent), "engine").endswith("kubo does not answer: connection refused")


@pytest.mark.parametrize("lack", Lack)
def test_every_wait_has_words(lack: Lack) -> None:
    assert line_with(a_status(waits=(Wait(lack, until=NOW + 5),)), "waits for").endswith("(5 s more)")


def test_a_client_that_is_left_out_again_and_again_is_told_apart_from_one_that_was_late_once() -> None:
    always = client("alice", Doing.WORKING, lateness=Lateness(left_out=7, in_a_row=5, late=2))
    once = client("bob", lateness=Lateness(left_out=1, in_a_row=0))
    status = a_status(always, once)
    assert line_with(status, "  alice").endswith("left out 7 times, the last 5 in a row, 2 came late")
    assert line_with(status, "  bob").endswith("left out once")
    assert "pollen_member_left_out_in_a_row{" in exposition(status)


def test_lines_say_when_an_exchange_closes_early() -> None:
    status = a_status()
    (part,) = status.parts
    assert part.role.run is not None
    run = dataclasses.replace(part.role.run, closing="replies=3 deadline=0")
    part = dataclasses.replace(part, role=dataclasses.replace(part.role, run=run))
    told = line_with(dataclasses.replace(status, parts=(part,)), "closes")
    assert told == "closes      an exchange once 3 replies are in"

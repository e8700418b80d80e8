"""`peer.jobs.job_server`: jobs that members ask for on other machines."""

from __future__ import annotations

import logging
import math
import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest
from standing_server import Server

from protocol.blocks.cid import cbor_block
from protocol.jobs.queue import MAX_OF_ONE
from protocol.jobs.request import JobQuestion


def test_a_job_of_another_machine_is_kept_with_its_app(server: Server) -> None:
    (told,) = server.told(server.request())
    assert (told.number, told.why) == (1, "")
    (job,) = server.kept
    assert (job.name, job.asker) == (told.name, server.asker.id)
    assert (server.session.home.path / "apps" / str(job.app) / "pyproject.toml").is_file()


def test_a_request_that_comes_again_is_one_job(server: Server) -> None:
    first, again = server.told(server.request(), server.request())
    assert first == again
    assert len(server.kept) == 1


def test_no_job_makes_the_server_refuse_the_next(server: Server) -> None:
    first, second = server.request(1), server.request(2)
    told = server.told(replace(first, config=(("fraction-evaluate", math.nan),)), second)
    assert [each.number is not None for each in told] == [False, True]


def test_a_flood_of_what_is_not_taken_does_not_fill_the_log(server: Server, caplog: pytest.LogCaptureFixture) -> None:
    for_another = [replace(server.request(number), to=bytes(32)) for number in range(5)]
    told = server.told(*for_another)
    assert [each.number for each in told] == [None] * 5
    assert [record.message for record in caplog.records if record.levelno >= logging.WARNING] == ["job-not-taken"]


def test_a_flood_of_one_member_stops_at_its_places(server: Server) -> None:
    told = server.told(*map(server.request, range(MAX_OF_ONE + 3)))
    assert [each.number is not None for each in told] == [True] * MAX_OF_ONE + [False] * 3
    assert len(server.kept) == MAX_OF_ONE


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"files": (("../../evil.py", b"x"), ("pyproject.toml", b""))}, "cannot be in a bundle"),
        ({"files": (("pyproject.toml", b"not toml ["),)}, "cannot be read"),
        ({"config": (("no-such-setting", 1),)}, "no setting"),
        ({"config": (("fraction-evaluate", math.inf),)}, "finite"),
        ({"config": (("size", 1 << 63),)}, "bits"),
        ({"memory": 9}, "memory"),
        ({"name": "latest"}, "cannot be called"),
    ],
)
def test_what_the_server_cannot_run_is_refused_with_the_reason(
    server: Server, changes: dict[str, object], why: str, tmp_path: Path
) -> None:
    before = set(tmp_path.rglob("evil*"))
    (told,) = server.told(replace(server.request(), **changes))
    assert told.number is None
    assert why in told.why
    assert server.kept == []
    assert set(tmp_path.rglob("evil*")) == before


def asked_about(server: Server, log_at: int | None = 0, number: int = 0) -> JobQuestion:
    request = server.request(number)
    return JobQuestion(request.federation, request.to, request.by, request.key, request.expires, log_at)


def test_whoever_asked_for_a_job_is_told_how_it_stands_and_what_its_app_printed(server: Server) -> None:
    server.told(server.request())
    run = cbor_block("a run").cid
    database = sqlite3.connect(server.session.home.journal)
    database.execute("UPDATE jobs SET run = ?", (bytes(run),))
    database.commit()
    log = server.session.home.run_log(run)
    log.parent.mkdir(parents=True)
    log.write_bytes(b"round 1\nround 2\n")
    (told,) = server.told(asked_about(server, log_at=8))
    assert (told.number, told.state, told.ended, told.run) == (1, "waiting", False, bytes(run))
    assert (told.log, told.log_next) == (b"round 2\n", 16)


def test_nobody_is_told_of_a_job_that_it_did_not_ask_for(server: Server) -> None:
    server.session.journal.jobs.accept(
        b"o" * 16, b"o" * 32, server.session.federation, cbor_block("app").cid, "app", "", b"", 0.0
    )
    (told,) = server.told(asked_about(server))
    assert (told.number, told.name, told.log) == (None, "", b"")


def test_a_request_whose_time_is_over_is_not_taken(server: Server) -> None:
    (told,) = server.told(replace(server.request(), expires=1))
    assert told.number is None
    assert "time is over" in told.why
    assert server.kept == []

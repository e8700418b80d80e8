"""`peer.jobs.job_server`: jobs that members ask for on other machines."""

from __future__ import annotations

import logging
import math
from dataclasses import replace
from pathlib import Path

import pytest
from standing_server import Server

from protocol.jobs.queue import MAX_OF_ONE


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

"""An app that is told another time and place, and sends something else there, says nothing about its server."""

from __future__ import annotations

import datetime
import os
import platform
import socket
import sys
import time
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest
from recorded_app import recorded_app

from protocol.app.calls import Diverged, Finished
from strategy.replay.another_place import another_place


@pytest.mark.parametrize(
    "read",
    [
        pytest.param(lambda: int(time.time()) // 86400, id="time.time"),
        pytest.param(lambda: time.time_ns() // 10**15, id="time.time_ns"),
        pytest.param(lambda: time.localtime()[:3], id="time.localtime"),
        pytest.param(lambda: time.strftime("%Y %j %A"), id="time.strftime"),
        pytest.param(lambda: time.ctime()[-4:], id="time.ctime"),
        pytest.param(lambda: datetime.datetime.now(datetime.UTC).year, id="datetime.now"),
        pytest.param(lambda: datetime.datetime.today().date(), id="datetime.today"),
        pytest.param(lambda: datetime.date.today().isoformat(), id="date.today"),
        pytest.param(lambda: socket.gethostname(), id="gethostname"),
        pytest.param(lambda: platform.node(), id="platform.node"),
        pytest.param(lambda: os.uname().nodename, id="uname"),
        pytest.param(lambda: platform.uname().node, id="platform.uname"),
        pytest.param(lambda: platform.release(), id="platform.release"),
        pytest.param(lambda: platform.platform(), id="platform.platform"),
        pytest.param(lambda: uuid.getnode(), id="the network card"),
        pytest.param(lambda: os.cpu_count(), id="cpu_count"),
        pytest.param(lambda: Path.home(), id="home"),
        pytest.param(lambda: sys.getswitchinterval(), id="turns of threads"),
    ],
)
def test_what_an_app_can_read_is_another_there_and_the_same_again_after_it(read: Callable[[], object]) -> None:
    here = read()

    with another_place():
        there = read()

    assert there != here
    assert read() == here


def test_its_home_is_a_folder_that_an_app_may_write_in_and_goes_away() -> None:
    with another_place():
        (home := Path.home()).joinpath("kept").write_text("an app's")

    assert not home.exists()


def test_a_date_is_a_date_there_too() -> None:
    real = datetime.datetime(2026, 1, 2, 3)

    with another_place():
        assert isinstance(real, datetime.datetime)
        assert isinstance(datetime.datetime.now(), datetime.date)
        assert time.gmtime(0).tm_year == 1970
        assert datetime.datetime.now() - datetime.timedelta(days=300) > real


@pytest.mark.parametrize(("mode", "ends"), [("map", Finished), ("day", Diverged), ("name", Diverged)])
def test_an_app_that_reads_a_date_or_a_name_differs_there(mode: str, ends: type, tmp_path: Path) -> None:
    run = recorded_app("own_threads", tmp_path, f'mode="{mode}"')

    assert isinstance(run.replay()[0], Finished)
    assert isinstance(run.replay(elsewhere=True)[0], ends)

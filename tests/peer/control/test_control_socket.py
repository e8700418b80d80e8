"""`peer.control`: a running peer answers commands on its machine at a socket in its home."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import pytest
from statuses import RUN, a_status, client

from peer.base import posix
from peer.base.errors import ExitCode, PeerError
from peer.control import answering as control
from peer.control.answering import answering
from peer.control.asking import ask
from peer.control.requests import (
    MAX_LINE,
    CancelJob,
    ClosingRun,
    JobDone,
    Request,
    Status,
    StopRun,
    Told,
    parse_answer,
)
from peer.control.socket_file import NAME, bound, connected
from peer.home.home import Home
from peer.status.peer_status import PeerStatus
from protocol.blocks.cid import CID
from protocol.status.role_status import MOST_MEMBERS

T = TypeVar("T")


async def knows(request: Request) -> Told:
    match request:
        case Status():
            return a_status()
        case StopRun(run=run):
            return ClosingRun(CID.parse(run))
        case _:
            return JobDone(7, "app", RUN, None)


async def cannot(request: Request) -> Told:
    raise PeerError("there is no such run", fix="peer ls", code=ExitCode.WRONG_USE)


def while_answering(home: Home, question: Callable[[], T], answer: Any = knows) -> T:
    async def both() -> T:
        async with answering(home, answer):
            return await asyncio.to_thread(question)

    return asyncio.run(both())


def said(home: Home, data: bytes) -> bytes:
    connection = connected(home, 10)
    assert connection is not None
    with connection, connection.makefile("rb") as answers:
        with contextlib.suppress(BrokenPipeError):  # a peer that cuts a question off answers before it has read all
            connection.sendall(data)
            connection.shutdown(socket.SHUT_WR)
        return answers.readline()


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home").create()


def test_a_running_peer_answers(home: Home) -> None:
    assert while_answering(home, lambda: ask(home, Status())) == a_status()
    assert while_answering(home, lambda: ask(home, StopRun(str(RUN)))) == ClosingRun(RUN)
    assert while_answering(home, lambda: ask(home, CancelJob(7))) == JobDone(7, "app", RUN, None)


def test_its_socket_is_for_its_owner_alone(home: Home) -> None:
    mode = while_answering(home, lambda: stat.S_IMODE((home.path / NAME).stat().st_mode))
    assert mode == 0o600


def test_nobody_answers_if_no_peer_runs(home: Home) -> None:
    assert ask(home, Status()) is None


def test_nobody_answers_at_the_socket_of_a_killed_peer_and_the_next_peer_takes_its_place(home: Home) -> None:
    bound(home).close()
    assert (home.path / NAME).exists()
    assert ask(home, Status()) is None
    assert while_answering(home, lambda: ask(home, Status())) is not None


def test_a_home_may_have_a_longer_path_than_a_socket(tmp_path: Path) -> None:
    home = Home(tmp_path / ("long" * 30)).create()
    assert while_answering(home, lambda: ask(home, Status())) is not None


def test_an_error_reaches_whoever_asked_with_its_fix_and_its_code(home: Home) -> None:
    with pytest.raises(PeerError, match="no such run") as error:
        while_answering(home, lambda: ask(home, Status()), cannot)
    assert (error.value.fix, error.value.exit_code) == ("peer ls", ExitCode.WRONG_USE)


def test_an_error_that_nobody_foresaw_is_told_as_well(home: Home) -> None:
    async def breaks(request: Request) -> Told:
        raise OSError("the disk is full")

    with pytest.raises(PeerError, match="the disk is full") as error:
        while_answering(home, lambda: ask(home, Status()), breaks)
    assert error.value.exit_code == ExitCode.UNFINISHED


def test_a_status_full_of_hostile_words_arrives(home: Home) -> None:
    hostile = a_status(*(client("\x00" * 500, why="\x00" * 500) for _ in range(MOST_MEMBERS)))

    async def tells(request: Request) -> Told:
        return hostile

    assert while_answering(home, lambda: ask(home, Status()), tells) == hostile


@pytest.mark.parametrize(
    "data",
    [b"", b"\n", b"status\n", b"[]\n", b'{"ask": "everything"}\n', b'{"ask": "status", "as": "root"}\n', b"\xff\n"],
)
def test_what_is_no_question_is_answered_as_wrong_use(home: Home, data: bytes) -> None:
    answer = parse_answer(while_answering(home, lambda: said(home, data)))
    assert (answer.done, answer.code) == (None, ExitCode.WRONG_USE)
    assert "start it again" in answer.fix


def test_a_question_without_an_end_is_cut_off_and_the_next_one_is_answered(home: Home) -> None:
    def both() -> PeerStatus | None:
        connection = connected(home, 60)
        assert connection is not None
        with connection, pytest.raises((BrokenPipeError, ConnectionResetError)):
            connection.sendall(bytes(64 * MAX_LINE))
        return ask(home, Status())

    assert while_answering(home, both) == a_status()


def test_a_file_in_the_place_of_the_socket_is_not_talked_to(home: Home) -> None:
    (home.path / NAME).write_text("")
    with pytest.raises(PeerError, match="not a socket"):
        ask(home, Status())


def test_the_socket_of_another_user_is_not_talked_to(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    bound(home).close()
    monkeypatch.setattr(posix, "own_user", lambda: (home.path / NAME).stat().st_uid + 1)
    with pytest.raises(PeerError, match="not a socket of yours"):
        ask(home, Status())


def test_whoever_opens_too_many_connections_is_turned_away(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control, "AT_ONCE", 0)
    assert while_answering(home, lambda: said(home, b"")) == b""

"""Asks the peer that runs with a home."""

from __future__ import annotations

from typing import Final, overload

from peer.base.errors import ExitCode, PeerError
from peer.control.requests import (
    MAX_ANSWER,
    AboutJob,
    BadRequest,
    ClosingRun,
    HandingOver,
    JobDone,
    LeadRun,
    Request,
    Status,
    StopRun,
    Told,
    line_of,
    parse_answer,
)
from peer.control.socket_file import connected
from peer.home.home import Home
from peer.status.peer_status import PeerStatus
from protocol.blocks.json_values import NotOfKind, from_json_value

SECONDS: Final = 30.0
"""How long an answer may take."""


@overload
def ask(home: Home, request: Status, seconds: float = SECONDS) -> PeerStatus | None: ...
@overload
def ask(home: Home, request: StopRun, seconds: float = SECONDS) -> ClosingRun | None: ...
@overload
def ask(home: Home, request: LeadRun, seconds: float = SECONDS) -> HandingOver | None: ...
@overload
def ask(home: Home, request: AboutJob, seconds: float = SECONDS) -> JobDone | None: ...


def ask(home: Home, request: Request, seconds: float = SECONDS) -> Told | None:
    """What the peer that runs with ``home`` answers; None if none runs.

    Raises:
        PeerError: if it cannot do what was asked, does not answer, or answers in another form.
    """
    if (connection := connected(home, seconds)) is None:
        return None
    try:
        with connection, connection.makefile("rb") as answers:
            connection.sendall(line_of(request))
            line = answers.readline(MAX_ANSWER)
        done = parse_answer(line).result()
    except (OSError, BadRequest) as error:
        raise PeerError(
            f"the peer that runs with the home {home.path} does not answer: {error}",
            fix="ask again; if it never answers, stop it (its process is in peer.lock) and start it again",
            code=ExitCode.UNFINISHED,
        ) from error
    try:
        return from_json_value(done, _told(request))
    except NotOfKind as error:
        raise PeerError(
            f"the running peer answers in another form: {error}",
            fix="it is of another version: restart it, or ask with the peer command that started it",
            code=ExitCode.UNFINISHED,
        ) from error


def _told(request: Request) -> type[PeerStatus] | type[ClosingRun] | type[HandingOver] | type[JobDone]:
    match request:
        case Status():
            return PeerStatus
        case StopRun():
            return ClosingRun
        case LeadRun():
            return HandingOver
        case _:
            return JobDone

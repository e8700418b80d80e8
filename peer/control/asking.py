"""Asks the peer that runs with a home."""

from __future__ import annotations

from typing import Any, Final

from peer.base.errors import ExitCode, PeerError
from peer.control.requests import MAX_ANSWER, BadRequest, Request, line_of, parse_answer
from peer.control.socket_file import connected
from peer.home.home import Home

SECONDS: Final = 30.0
"""How long an answer may take."""


def ask(home: Home, request: Request, seconds: float = SECONDS) -> dict[str, Any] | None:
    """What the peer that runs with ``home`` answers; None if none runs.

    Raises:
        PeerError: if it cannot do what was asked, or does not answer.
    """
    if (connection := connected(home, seconds)) is None:
        return None
    try:
        with connection, connection.makefile("rb") as answers:
            connection.sendall(line_of(request))
            line = answers.readline(MAX_ANSWER)
        return parse_answer(line).result()
    except (OSError, BadRequest) as error:
        raise PeerError(
            f"the peer that runs with the home {home.path} does not answer: {error}",
            fix="ask again; if it never answers, stop it (its process is in peer.lock) and start it again",
            code=ExitCode.UNFINISHED,
        ) from error

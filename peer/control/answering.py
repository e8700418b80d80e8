"""A running peer answers at its control socket."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Final

from peer.base import logs
from peer.base.errors import ExitCode, PeerError
from peer.control.requests import MAX_LINE, Answer, BadRequest, Request, Told, line_of, parse_request
from peer.control.socket_file import NAME, bound
from peer.home.home import Home
from protocol.blocks.json_values import json_value

SECONDS: Final = 10.0
"""How long a question may take to arrive."""

AT_ONCE: Final = 64
"""Connections at most. More are turned away at once."""

Answerer = Callable[[Request], Awaitable[Told]]
"""Does what is asked and tells the result, or raises PeerError."""


@contextlib.asynccontextmanager
async def answering(home: Home, answer: Answerer) -> AsyncIterator[None]:
    """Answer questions at the socket of ``home``, whose lock this process holds, until the context ends.

    A home in which no socket can be made (a file system without them) still runs: nobody can ask it.
    """
    connections = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        try:
            if connections <= AT_ONCE:
                await _serve(reader, writer, answer)
        finally:
            connections -= 1
            writer.close()

    try:
        listening = bound(home)
    except (PeerError, OSError) as error:
        logs.event("no-control-socket", logging.WARNING, why=str(error))
        yield
        return
    server = await asyncio.start_unix_server(serve, sock=listening, limit=MAX_LINE)
    try:
        yield
    finally:
        server.close()
        (home.path / NAME).unlink(missing_ok=True)


_OTHER_VERSION: Final = "if it was started before an upgrade, stop it, and start it again"


async def _serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, answer: Answerer) -> None:
    try:
        async with asyncio.timeout(SECONDS):
            line = await reader.readline()
        request = parse_request(line)
    except (TimeoutError, ValueError, OSError, BadRequest) as error:  # ValueError: the line is too long
        why = f"the peer that runs does not know this question: {error}"
        reply = Answer(error=why, fix=_OTHER_VERSION, code=ExitCode.WRONG_USE)
    else:
        reply = await _answered(request, answer)
    with contextlib.suppress(OSError):  # whoever asked has gone
        writer.write(line_of(reply))
        async with asyncio.timeout(SECONDS):
            await writer.drain()


async def _answered(request: Request, answer: Answerer) -> Answer:
    try:
        return Answer(done=json_value(await answer(request)))
    except PeerError as error:
        return Answer.of_error(error)
    except Exception as error:  # noqa: BLE001  # whoever asked is told, whatever it is; silence says nothing
        logs.event("question-failed", logging.ERROR, error=f"{type(error).__name__}: {error}")
        return Answer(error=f"{type(error).__name__}: {error}", code=ExitCode.UNFINISHED)

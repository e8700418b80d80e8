"""Runs the server of the page."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
import threading
from collections.abc import Callable
from typing import Final

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from peer.web.access import Sessions
from peer.web.board import Board
from peer.web.server import Page

CONNECTIONS: Final = 100
"""At most. Any user of the machine can connect, and each connection is an open file of this process. A page has one
that listens, and a few that ask."""

IDLE: Final = 5
"""Seconds after which a connection on which nothing is asked is closed."""


class _FewConnections(H11Protocol):
    """Hangs up on those who are too many, or ask nothing: uvicorn has a bound for requests alone."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        super().connection_made(transport)
        if len(self.connections) > CONNECTIONS:
            transport.close()
            return
        self.timeout_keep_alive_task = self.loop.call_later(IDLE, self.timeout_keep_alive_handler)


class _Server(uvicorn.Server):
    """Leaves signals to us: uvicorn would raise them again once it has ended."""

    @contextlib.contextmanager
    def capture_signals(self):  # type: ignore[no-untyped-def]  # as uvicorn has it
        """Nothing."""
        yield


async def serve(
    board: Board,
    sessions: Sessions,
    listening: socket.socket,
    token: str,
    entered: Callable[[], None],
    over: asyncio.Event,
) -> None:
    """Serve the page on the bound socket ``listening``, until ``over`` is set or a signal comes. ``token`` is what
    Prometheus shows; ``entered`` is called when a link was used."""
    page = Page(board, sessions, listening.getsockname()[1], token, entered, over)
    config = uvicorn.Config(
        page.app(),
        http=_FewConnections,
        timeout_keep_alive=IDLE,
        log_config=None,
        access_log=False,
        server_header=False,
        lifespan="off",
        ws="none",
        proxy_headers=False,
        timeout_graceful_shutdown=2,
    )
    server = _Server(config)
    loop = asyncio.get_running_loop()
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, over.set)
    serving = loop.create_task(server.serve(sockets=[listening]))
    ends = loop.create_task(over.wait())
    await asyncio.wait([serving, ends], return_when=asyncio.FIRST_COMPLETED)
    over.set()
    server.should_exit = True
    await serving

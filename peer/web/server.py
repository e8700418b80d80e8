"""The server behind the page: each request is checked, and answered with JSON or a file of ours."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from http import HTTPStatus
from importlib.resources import files
from typing import Any, Final

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import Mount, Route

from peer.base.errors import PeerError
from peer.engine.interface import EngineError
from peer.history.describe import describe
from peer.web import prometheus
from peer.web.access import COOKIE, HEADERS, REPORT_POLICY, Sessions, is_bearer, why_refused
from peer.web.board import Board, NotHere
from peer.web.run_report import run_report
from protocol.blocks.cid import CID, BlockError
from protocol.blocks.json_values import json_value

SCHEMA: Final = "pollen/web/1"

LOOK: Final = 0.5
"""Seconds between two looks whether there is something to tell a page that listens."""

QUIET: Final = 15.0
"""Seconds after which something is said even if nothing has changed, so that a page that has gone is noticed."""

ROWS: Final = 50

_FILES: Final = {
    "/": ("index.html", "text/html; charset=utf-8"),
    "/static/app.js": ("app.js", "text/javascript; charset=utf-8"),
    "/static/style.css": ("style.css", "text/css; charset=utf-8"),
    "/static/uPlot.js": ("uPlot.iife.min.js", "text/javascript; charset=utf-8"),
    "/static/uPlot.css": ("uPlot.min.css", "text/css; charset=utf-8"),
}


class Page:
    """The page of one home."""

    def __init__(
        self,
        board: Board,
        sessions: Sessions,
        port: int,
        token: str,
        entered: Callable[[], None],
        over: asyncio.Event,
    ) -> None:
        """``token`` is Prometheus's. ``entered`` is called when a link was used. ``over`` ends the streams of pages
        that listen."""
        self._board = board
        self._sessions = sessions
        self._port = port
        self._token = token
        self._entered = entered
        self._over = over

    def app(self) -> Starlette:
        """The application."""
        shown = [Route(path, self._file(path)) for path in _FILES]
        shown += [
            Route("/events", self._events),
            Route("/api/status", self._answer(self._status)),
            Route("/api/runs", self._answer(lambda _: {"runs": self._board.runs()})),
            Route("/api/federations", self._answer(lambda _: {"federations": self._board.federations()})),
            Route("/api/disk", self._answer(lambda _: self._board.disk())),
            Route("/api/runs/{run}", self._answer(lambda asked: self._board.about(_cid(asked, "run")))),
            Route("/api/runs/{run}/curves", self._answer(self._curves)),
            Route("/api/runs/{run}/rounds", self._answer(self._rounds)),
            Route("/api/runs/{run}/records", self._answer(self._records)),
            Route("/api/blocks/{cid}", self._answer(self._block)),
            Route("/runs/{run}/report", self._report),
        ]
        routes = [
            Route("/enter", self._enter),
            Route("/metrics", self._metrics),
            Mount(self._sessions.folder, routes=shown),
        ]
        return Starlette(routes=routes, middleware=[Middleware(BaseHTTPMiddleware, dispatch=self._guard)])

    async def _guard(self, request: Request, go_on: Callable[[Request], Awaitable[Response]]) -> Response:
        refused = why_refused(request.method, request.headers, self._port)
        path = request.url.path
        if refused is not None:
            response: Response = PlainTextResponse(refused[1], refused[0])
        elif path == "/metrics" and not is_bearer(request.headers.get("authorization", ""), self._token):
            response = PlainTextResponse("show the token in the home's metrics.token", HTTPStatus.UNAUTHORIZED)
        elif path in ("/enter", "/metrics") or self._sessions.knows(request.cookies.get(COOKIE, "")):
            response = await go_on(request)
        else:
            why = "open the link that peer web printed; it works once, and peer web then prints another"
            response = PlainTextResponse(why, HTTPStatus.FORBIDDEN)
        for name, value in HEADERS.items():
            response.headers.setdefault(name, value)
        return response

    async def _enter(self, request: Request) -> Response:
        cookie = self._sessions.enter(request.query_params.get("token", ""))
        if cookie is None:
            why = "this link does not work, or has worked: open the newest one that peer web printed"
            return PlainTextResponse(why, HTTPStatus.FORBIDDEN)
        folder = self._sessions.folder
        response = RedirectResponse(f"{folder}/", HTTPStatus.SEE_OTHER)
        response.set_cookie(COOKIE, cookie, httponly=True, samesite="strict", path=folder)
        self._entered()
        return response

    def _file(self, path: str) -> Callable[[Request], Awaitable[Response]]:
        name, kind = _FILES[path]

        async def answer(_request: Request) -> Response:
            return Response(files("peer.web").joinpath("static", name).read_bytes(), media_type=kind)

        return answer

    async def _metrics(self, _request: Request) -> Response:
        try:
            text = prometheus.exposition(self._board.status())
        except PeerError as error:
            return PlainTextResponse(str(error), HTTPStatus.SERVICE_UNAVAILABLE)
        return Response(text, media_type=prometheus.CONTENT_TYPE)

    def _answer(self, tell: Callable[[Request], dict[str, Any]]) -> Callable[[Request], Awaitable[Response]]:
        async def answer(request: Request) -> Response:
            try:
                value = await run_in_threadpool(tell, request)
            except NotHere as error:
                return _json({"error": str(error)}, HTTPStatus.NOT_FOUND)
            except (BlockError, EngineError, PeerError) as error:
                return _json({"error": str(error), "fix": getattr(error, "fix", "")}, HTTPStatus.SERVICE_UNAVAILABLE)
            return _json(value, HTTPStatus.OK)

        return answer

    def _status(self, _request: Request) -> dict[str, Any]:
        try:
            status: dict[str, Any] = json_value(self._board.status())
        except PeerError as error:
            return {"trouble": str(error), "fix": error.fix, "parts": []}
        return status

    def _curves(self, request: Request) -> dict[str, Any]:
        return self._board.view(_cid(request, "run")).charts()

    def _rounds(self, request: Request) -> dict[str, Any]:
        return self._board.view(_cid(request, "run")).rows(_before(request), ROWS)

    def _records(self, request: Request) -> dict[str, Any]:
        return self._board.view(_cid(request, "run")).records(_before(request), ROWS)

    def _block(self, request: Request) -> dict[str, Any]:
        return {"block": describe(_cid(request, "cid"), self._board.blocks())}

    async def _report(self, request: Request) -> Response:
        try:
            page = await run_in_threadpool(run_report, self._board, _cid(request, "run"))
        except NotHere as error:
            return PlainTextResponse(str(error), HTTPStatus.NOT_FOUND)
        except (BlockError, EngineError, PeerError) as error:
            return PlainTextResponse(str(error), HTTPStatus.SERVICE_UNAVAILABLE)
        return Response(page, media_type="text/html; charset=utf-8", headers={"Content-Security-Policy": REPORT_POLICY})

    async def _events(self, _request: Request) -> Response:
        return StreamingResponse(self._changes(), media_type="text/event-stream")

    async def _changes(self) -> AsyncIterator[str]:
        """An event whenever something has changed: the page asks for what it shows."""
        told, quiet = -1, 0.0
        while not self._over.is_set():
            if (version := self._board.version) != told or quiet >= QUIET:
                told, quiet = version, 0.0
                yield f"data: {json.dumps({'version': version})}\n\n"
            quiet += LOOK
            await asyncio.sleep(LOOK)


def _cid(request: Request, name: str) -> CID:
    try:
        return CID.parse(request.path_params[name])
    except BlockError as error:
        raise NotHere(str(error)) from error


def _before(request: Request) -> int | None:
    text = request.query_params.get("before", "")
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 16 else None


def _json(value: dict[str, Any], status: HTTPStatus) -> Response:
    text = json.dumps({"schema": SCHEMA, **value}, default=str)
    return Response(text, status, media_type="application/json")

"""Calls addresses for members that ask, as `protocol.wire.calling_back` lets us."""

from __future__ import annotations

import contextlib
import errno
import http.client
import os
import queue
import socket
import ssl
import threading
import time
import urllib.request
from base64 import b64encode
from collections.abc import Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final

from peer.base.sockets import shut_down
from peer.engine.interface import AskingOff, EngineError, OtherEngines, Streams
from protocol.pacing.token_bucket import TokenBucket
from protocol.wire.asking import BadMessage, Channel
from protocol.wire.calling_back import (
    CALLS,
    MAX_CALLED,
    MAX_PLACES,
    RATE,
    SECONDS,
    Call,
    CallBack,
    CalledBack,
    may_call,
)
from protocol.wire.node_address import BadAddress, HostKind, NodeAddress, Over

_NEWCOMERS_SECONDS: Final = 3.0
"""Seconds that a newcomer has to ask after it was let in."""

_LOOK_AGAIN: Final = 0.1

_NO_ROUTE: Final = {errno.ENETUNREACH, errno.EHOSTUNREACH, errno.EACCES, errno.EPERM, errno.EADDRNOTAVAIL}

_ONE_AT_A_TIME: Final = threading.Lock()
_ALLOWANCE: Final = TokenBucket(CALLS, RATE)
"""For all requests of this process, whoever asks: nodes take new names at will."""


def called_back(streams: OtherEngines, node: str, request: CallBack, known: Collection[str]) -> CalledBack:
    """What came of calling the addresses for the engine ``node``. Those ``known`` are dialled anyway, and
    named by an admin.

    One request is served at a time, and not too many. Others are told that nothing was tried.
    """
    not_tried = CalledBack([Call.NOT_TRIED] * len(request.addresses))
    if not _ONE_AT_A_TIME.acquire(blocking=False):
        return not_tried
    try:
        if not _ALLOWANCE.take(time.monotonic()):
            return not_tried
        asker = _place_of(streams, node)
        with ThreadPoolExecutor(MAX_CALLED) as pool:
            return CalledBack(list(pool.map(partial(_call, asker=asker, known=known), request.addresses)))
    finally:
        _ONE_AT_A_TIME.release()


@contextlib.contextmanager
def answering(streams: Streams | None, own: Channel, known: Collection[str]) -> Iterator[None]:
    """Call members back that ask for it, until the context ends; and after that wait a moment for a newcomer that has
    just joined. For a home whose peer does not run: a running peer calls back anyway (`peer.run.asking`)."""
    if streams is None:
        yield
        return
    asking: queue.SimpleQueue[str] = queue.SimpleQueue()

    def answer(node: str, data: bytes) -> bytes | None:
        try:
            request = own.read(data, CallBack)
        except BadMessage:
            return None
        asking.put(node)
        return own.write(called_back(streams, node, request, known))

    try:
        listening = streams.listen(own.name, answer)
    except AskingOff:  # newcomers then do not learn whether they can be reached
        yield
        return
    try:
        yield
        with contextlib.suppress(queue.Empty, EngineError):
            node, until = asking.get(timeout=_NEWCOMERS_SECONDS), time.monotonic() + 2 * SECONDS
            while node in streams.nodes() and time.monotonic() < until:  # it leaves once it has the answer
                time.sleep(_LOOK_AGAIN)
    finally:
        listening.close()


def _place_of(streams: OtherEngines, node: str) -> IPv4Address | IPv6Address | None:
    """Where a node is connected from. A web server in between hides that."""
    try:
        address = NodeAddress.parse(streams.seen_at(node) or "")
        return ip_address(address.host) if address.over is Over.TCP else None
    except (EngineError, BadAddress, ValueError):
        return None


def _call(address: str, *, asker: IPv4Address | IPv6Address | None, known: Collection[str]) -> Call:
    try:
        place = NodeAddress.parse(address)
    except BadAddress:
        return Call.NOT_TRIED
    if place.over is Over.WSS and "https" in urllib.request.getproxies_environment():
        return Call.NOT_TRIED  # from here it would say what the proxy does
    try:
        found = socket.getaddrinfo(place.host, place.port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return Call.NO_NAME
    # a name that leads into our own network is as good as none: what names there are in it is nobody's business
    is_named = place.kind not in (HostKind.IP4, HostKind.IP6)
    outcome, until = Call.NO_NAME if is_named else Call.NOT_TRIED, time.monotonic() + SECONDS
    for family, _, _, _, to in found[:MAX_PLACES]:  # whose name it is says how many there are
        left = until - time.monotonic()
        if left > 0 and may_call(ip_address(to[0]), asker, is_known=address in known):
            outcome = _connect(family, to, place, left)
            if outcome is Call.OPEN:
                break
    return outcome


def _connect(
    family: int, to: tuple[str, int] | tuple[str, int, int, int] | tuple[int, bytes], place: NodeAddress, seconds: float
) -> Call:
    try:
        with socket.socket(family, socket.SOCK_STREAM) as wire:
            wire.settimeout(seconds)
            wire.connect(to)
            return _upgraded(wire, place, seconds) if place.over is Over.WSS else Call.OPEN
    except TimeoutError:
        return Call.DROPPED
    except ssl.SSLError:
        return Call.CERTIFICATE
    except http.client.HTTPException:
        return Call.NO_WEBSOCKET
    except OSError as error:
        return Call.NO_ROUTE if error.errno in _NO_ROUTE else Call.REFUSED


def _upgraded(wire: socket.socket, place: NodeAddress, seconds: float) -> Call:
    """Ask a web server for WebSocket (RFC 6455, section 4.1), and hang up: at the latest after ``seconds``, even if it
    never stops talking."""
    with (
        ssl.create_default_context().wrap_socket(wire, server_hostname=place.name or place.host) as tls,
        _cut_off(tls, seconds),
    ):
        key = b64encode(os.urandom(16)).decode()
        lines = (
            "GET / HTTP/1.1",
            f"Host: {place.name or place.host}",
            "Connection: Upgrade",
            "Upgrade: websocket",
            "Sec-WebSocket-Version: 13",
            f"Sec-WebSocket-Key: {key}",
        )
        tls.sendall("\r\n".join([*lines, "", ""]).encode())
        with contextlib.closing(http.client.HTTPResponse(tls)) as response:
            response.begin()
            return Call.OPEN if response.status == http.HTTPStatus.SWITCHING_PROTOCOLS else Call.NO_WEBSOCKET


@contextlib.contextmanager
def _cut_off(wire: socket.socket, seconds: float) -> Iterator[None]:
    """The connection is shut down after ``seconds``: its own time-out begins anew with each byte that comes."""
    timer = threading.Timer(seconds, shut_down, [wire])
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()

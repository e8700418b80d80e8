"""HTTP over a Unix socket for httpx, by the standard library.

httpx's own transport parses HTTP in Python and sends an upload part by part. That takes three times the processor time
of a short call, and a server that reads it part by part works more, too.
"""

from __future__ import annotations

import contextlib
import http.client
import select
import socket
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from typing import Final

import httpx

from peer.base import posix

_READ_SIZE: Final = 64 << 10
_SENT_AT_ONCE: Final = 16 << 10
"""Bytes of an upload that are copied behind its head, so that both are sent at once."""

_SHORTEST: Final = 0.001
"""Seconds that are waited for at least."""


class SocketTransport(httpx.BaseTransport):
    """A transport to the server that listens at ``path``. Safe from several threads."""

    def __init__(self, path: str, *, most_idle: int, connected: Callable[[socket.socket], None]) -> None:
        """At most so many connections wait for the next request. ``connected`` is called with the socket of each that
        is made."""
        self._path = path
        self._most_idle = most_idle
        self._connected = connected
        self._idle: deque[socket.socket] = deque()
        self._is_closed = False

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """As `httpx.BaseTransport` says."""
        timeouts = request.extensions.get("timeout", {})
        wire = self._take() or self._connect(timeouts.get("connect"))
        answer = http.client.HTTPResponse(wire, method=request.method)
        try:
            wire.settimeout(_waits(timeouts.get("write")))
            _send(wire, _framed(request))
            wire.settimeout(_waits(timeouts.get("read")))
            with _translated():
                answer.begin()
        except BaseException:
            answer.close()
            wire.close()
            raise
        return httpx.Response(
            answer.status,
            headers=answer.getheaders(),
            stream=_Body(answer, wire, request, self._give_back),
            extensions={"network_stream": _Wire(wire)},
        )

    def close(self) -> None:
        """Close the connections that wait for a request."""
        self._is_closed = True
        while (wire := self._popped()) is not None:
            wire.close()

    def _take(self) -> socket.socket | None:
        """A connection that waits for a request, and that the server has not closed."""
        while (wire := self._popped()) is not None:
            poll = select.poll()
            poll.register(wire, select.POLLIN)
            if not poll.poll(0):
                return wire
            wire.close()
        return None

    def _popped(self) -> socket.socket | None:
        try:
            return self._idle.pop()
        except IndexError:
            return None

    def _connect(self, timeout: float | None) -> socket.socket:
        wire = posix.file_socket()
        try:
            wire.settimeout(_waits(timeout))
            wire.connect(self._path)
        except TimeoutError as error:
            wire.close()
            raise httpx.ConnectTimeout(str(error)) from error
        except OSError as error:
            wire.close()
            raise httpx.ConnectError(str(error)) from error
        self._connected(wire)
        return wire

    def _give_back(self, wire: socket.socket) -> None:
        if self._is_closed or len(self._idle) >= self._most_idle:
            wire.close()
        else:
            self._idle.append(wire)


class _Wire:
    """The connection of an answer, as httpx's own transport tells it."""

    def __init__(self, wire: socket.socket) -> None:
        self._wire = wire

    def get_extra_info(self, info: str) -> socket.socket | None:
        return self._wire if info == "socket" else None


class _Body(httpx.SyncByteStream):
    """The body of an answer. At its end the connection is free for another request; if it is closed before, so is the
    connection."""

    def __init__(
        self,
        answer: http.client.HTTPResponse,
        wire: socket.socket,
        request: httpx.Request,
        give_back: Callable[[socket.socket], None],
    ) -> None:
        self._answer = answer
        self._wire: socket.socket | None = wire
        self._request = request
        self._give_back = give_back

    def __iter__(self) -> Iterator[bytes]:
        wire, answer = self._wire, self._answer
        assert wire is not None
        wire.settimeout(_waits(self._request.extensions.get("timeout", {}).get("read")))
        with _translated():
            # what has no known length is given as it comes; read1 of Python 3.11 does not count what has one
            read = answer.read1 if answer.length is None else answer.read
            while part := read(_READ_SIZE):
                yield part
            if answer.length:
                raise http.client.IncompleteRead(b"", answer.length)
        if not answer.will_close:
            self._wire = None
            answer.close()
            self._give_back(wire)

    def close(self) -> None:
        self._answer.close()
        if self._wire is not None:
            self._wire.close()


@contextlib.contextmanager
def _translated() -> Iterator[None]:
    """What goes wrong as an answer is read, as httpx says it."""
    try:
        yield
    except TimeoutError as error:
        raise httpx.ReadTimeout(str(error)) from error
    except OSError as error:
        raise httpx.ReadError(str(error)) from error
    except http.client.HTTPException as error:
        raise httpx.RemoteProtocolError(f"{type(error).__name__}: {error}") from error


def _waits(seconds: float | None) -> float | None:
    """How long a socket waits. Of no time at all it would make that it never blocks; then nothing to read yet looks
    like a server that has hung up (`http.client`), and not like one that takes too long."""
    return None if seconds is None else max(seconds, _SHORTEST)


def _send(wire: socket.socket, data: Iterable[bytes]) -> None:
    """Send it. If the server does not want all of it, it may say why and hang up: then its answer is to be read."""
    for each in data:
        try:
            wire.sendall(each)
        except (BrokenPipeError, ConnectionResetError):
            return
        except TimeoutError as error:
            raise httpx.WriteTimeout(str(error)) from error
        except OSError as error:
            raise httpx.WriteError(str(error)) from error


def _framed(request: httpx.Request) -> Iterator[bytes]:
    """A request as it is sent: with a short upload at once, which has its length, and with a long one in chunks."""
    assert isinstance(request.stream, Iterable)
    parts = iter(request.stream)
    begun, size = list[bytes](), 0
    for part in parts:
        begun.append(part)
        size += len(part)
        if size > _SENT_AT_ONCE:
            yield _head(request, ("Transfer-Encoding", "chunked"))
            yield from _chunks(chain(begun, parts))
            return
    yield b"".join((_head(request, ("Content-Length", str(size))), *begun))


def _head(request: httpx.Request, length: tuple[str, str]) -> bytes:
    own = ("content-length", "transfer-encoding")
    told = [(name, value) for name, value in request.headers.multi_items() if name not in own]
    lines = [f"{request.method} {request.url.raw_path.decode('ascii')} HTTP/1.1"]
    lines += [f"{name}: {value}" for name, value in (*told, length)]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def _chunks(parts: Iterable[bytes]) -> Iterator[bytes]:
    for part in parts:
        if not part:  # it would be the end
            continue
        if len(part) <= _SENT_AT_ONCE:
            yield b"%X\r\n%b\r\n" % (len(part), part)
        else:  # not copied
            yield b"%X\r\n" % len(part)
            yield part
            yield b"\r\n"
    yield b"0\r\n\r\n"

"""`peer.base.socket_transport`: what is sent and read, which connections are used again, and what goes wrong."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from peer.base.socket_transport import SocketTransport
from peer.base.sockets import shut_down

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Server:
    """Listens at ``path``. It says what `say` returns to each request, and notes what it was sent."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.say: Callable[[], bytes] = lambda: OK
        self.hangs_up = False
        self.received: list[bytes] = []
        self.connections: list[socket.socket] = []
        self.accepted = threading.Event()
        self._listening = socket.socket(socket.AF_UNIX)
        self._listening.bind(str(path))
        self._listening.listen()
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                wire, _ = self._listening.accept()
            except OSError:
                return
            self.connections.append(wire)
            self.accepted.set()
            threading.Thread(target=self._serve, args=(wire,), daemon=True).start()

    def _serve(self, wire: socket.socket) -> None:
        request = b""
        with contextlib.suppress(OSError):  # the client, or the test, has hung up
            while part := wire.recv(1 << 20):
                request += part
                if _is_whole(request):
                    self.received.append(request)
                    request = b""
                    wire.sendall(self.say())
                    if self.hangs_up:
                        wire.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        for wire in self.connections:
            shut_down(wire)


def _is_whole(request: bytes) -> bool:
    head, end, body = request.partition(b"\r\n\r\n")
    if b"chunked" in head:
        return body.endswith(b"0\r\n\r\n")
    return bool(end) and len(body) == int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    server = Server(tmp_path / "api")
    yield server
    server.close()


@pytest.fixture
def made() -> list[socket.socket]:
    return []


@pytest.fixture
def client(server: Server, made: list[socket.socket]) -> Iterator[httpx.Client]:
    transport = SocketTransport(str(server.path), most_idle=2, connected=made.append)
    with httpx.Client(base_url="http://localhost/", transport=transport, timeout=10.0) as client:
        yield client


def test_a_short_upload_is_sent_at_once_with_its_length(client: httpx.Client, server: Server) -> None:
    assert client.post("path?arg=a%20b", content=iter([b"one", b"two"])).text == "ok"
    (request,) = server.received
    head, _, body = request.partition(b"\r\n\r\n")
    assert head.startswith(b"POST /path?arg=a%20b HTTP/1.1\r\n")
    assert body == b"onetwo"
    assert b"chunked" not in head


def test_a_long_upload_is_sent_in_chunks_as_it_comes(client: httpx.Client, server: Server) -> None:
    client.post("path", content=iter([b"a" * 20_000, b"", b"b" * 10]))
    assert (
        server.received[0].partition(b"\r\n\r\n")[2]
        == b"4E20\r\n" + b"a" * 20_000 + b"\r\nA\r\nbbbbbbbbbb\r\n0\r\n\r\n"
    )


def test_a_connection_is_used_again_once_its_answer_is_read(client: httpx.Client, made: list[socket.socket]) -> None:
    for _ in range(3):
        client.post("path")
    assert len(made) == 1


def test_a_connection_whose_answer_is_left_unread_is_closed(
    client: httpx.Client, server: Server, made: list[socket.socket]
) -> None:
    server.say = lambda: b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n"
    with client.stream("POST", "path") as answer:
        assert next(answer.iter_raw()) == b"a"
    assert made[0].fileno() == -1
    server.say = lambda: OK
    assert client.post("path").text == "ok"
    assert len(made) == 2


def test_a_connection_that_the_server_has_closed_is_not_used_again(
    client: httpx.Client, server: Server, made: list[socket.socket]
) -> None:
    server.hangs_up = True
    for _ in range(3):
        client.post("path")
        assert made[-1].recv(1, socket.MSG_PEEK) == b""  # the server's end is here
    assert len(made) == 3


def test_what_is_streamed_is_given_as_it_comes(client: httpx.Client, server: Server) -> None:
    server.say = lambda: b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n"
    with client.stream("POST", "path") as answer:
        parts = answer.iter_raw()
        assert next(parts) == b"one"
        server.connections[0].sendall(b"3\r\ntwo\r\n0\r\nX-Trailer: x\r\n\r\n")
        assert list(parts) == [b"two"]


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"nonsense\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nok",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nx\r\nok",
    ],
)
def test_an_answer_that_is_cut_short_or_none_is_an_error(client: httpx.Client, server: Server, answer: bytes) -> None:
    server.say, server.hangs_up = (lambda: answer), True
    with pytest.raises((httpx.RemoteProtocolError, httpx.ReadError)):
        client.post("path")


def test_an_answer_that_does_not_come_is_waited_for_no_longer_than_asked(client: httpx.Client, server: Server) -> None:
    server.say = lambda: b"HTTP/1.1 200 OK\r\n"
    with pytest.raises(httpx.ReadTimeout):
        client.post("path", timeout=0.05)


def test_an_answer_for_which_there_is_no_time_left_is_late_and_its_server_is_not_gone(
    client: httpx.Client, server: Server
) -> None:
    server.say = lambda: b""
    with pytest.raises(httpx.ReadTimeout):
        client.post("path", timeout=httpx.Timeout(5.0, read=0.0))


def test_a_server_that_is_not_there_is_an_error_of_connecting(tmp_path: Path) -> None:
    transport = SocketTransport(str(tmp_path / "none"), most_idle=2, connected=lambda _: None)
    with httpx.Client(base_url="http://localhost/", transport=transport) as client, pytest.raises(httpx.ConnectError):
        client.post("path")


def test_an_upload_that_cannot_be_read_is_no_error_of_the_server(client: httpx.Client) -> None:
    def upload() -> Iterator[bytes]:
        yield b"a" * 20_000
        raise OSError("the disk is broken")

    with pytest.raises(OSError, match="the disk is broken"):
        client.post("path", content=upload())


def test_an_answer_to_an_upload_that_was_not_read_to_its_end_is_read(client: httpx.Client, server: Server) -> None:
    early = threading.Event()

    def upload() -> Iterator[bytes]:
        yield b"a" * 20_000
        assert server.accepted.wait(10)
        server.connections[0].sendall(OK)
        server.connections[0].shutdown(socket.SHUT_RD)
        early.set()
        for _ in range(1000):
            yield b"a" * 20_000

    assert client.post("path", content=upload()).text == "ok"
    assert early.is_set()

"""The addresses of Kubo nodes, and that nobody is shown the credentials in them."""

from __future__ import annotations

import http.server
import json
import threading

import pytest

from peer.engine import open_engine, without_credentials
from peer.engine.interface import EngineError
from peer.engine.kubo.address import KuboAddress


@pytest.mark.parametrize(
    ("text", "base", "multiaddr", "path"),
    [
        ("http://127.0.0.1:5001", "http://127.0.0.1:5001/api/v0/", "/ip4/127.0.0.1/tcp/5001/http", "api/v0"),
        ("https://node.example", "https://node.example/api/v0/", "/dns/node.example/tcp/443/https", "api/v0"),
        ("http://[::1]:5001/", "http://[::1]:5001/api/v0/", "/ip6/::1/tcp/5001/http", "api/v0"),
        ("http://h:1/kubo", "http://h:1/kubo/api/v0/", "/dns/h/tcp/1/http", "kubo/api/v0"),
        ("http://h:1/a/b/", "http://h:1/a/b/api/v0/", "/dns/h/tcp/1/http", "a/b/api/v0"),
        ("http://h:1/kubo/api/v0", "http://h:1/kubo/api/v0/", "/dns/h/tcp/1/http", "kubo/api/v0"),
        ("unix:/run/ipfs.sock", "http://kubo/api/v0/", "/unix/run/ipfs.sock", "api/v0"),
    ],
)
def test_an_address_says_where_calls_go(text: str, base: str, multiaddr: str, path: str) -> None:
    found = KuboAddress.parse(text)
    assert (found.base, found.multiaddr, found.path) == (base, multiaddr, path)
    assert found.authorization is None


@pytest.mark.parametrize(
    ("userinfo", "authorization"),
    [
        ("alice:secret", "Basic YWxpY2U6c2VjcmV0"),
        ("alice:s%40%3Ac", "Basic YWxpY2U6c0A6Yw=="),
        ("alice", "Basic YWxpY2U6"),
        ("bearer:t0k.en", "Bearer t0k.en"),
    ],
)
def test_credentials_become_a_header_and_are_shown_nowhere(userinfo: str, authorization: str) -> None:
    found = KuboAddress.parse(f"https://{userinfo}@node.example/kubo")
    assert found.authorization == authorization
    assert found.shown == "https://node.example/kubo"
    assert not any(userinfo in text for text in (repr(found), found.base, found.multiaddr))


@pytest.mark.parametrize(
    "text",
    [
        "http://",
        "http://[::1",
        "http://127.0.0.1:x",
        "http://127.0.0.1:0",
        "http://u:secret@127.0.0.1:65536",
        "http://127.0.0.1:5001?a=b",
        "http://u:se@cret@[::1",
        "http://u:secret@h:x",
        "http://u:secret@",
        "unix:",
        "unix:here.sock",
        f"unix:/{'x' * 101}",
        "unix:/home/Alice/api.sock",
        "unix:/home/a+b/api.sock",
    ],
)
def test_what_is_no_address_is_named_without_its_credentials(text: str) -> None:
    with pytest.raises(EngineError, match=r"not the URL|the whole path|too long") as raised:
        open_engine(text)
    assert "cret" not in str(raised.value)
    assert raised.value.__cause__ is None


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("http://u:p@h:5001/x", "http://h:5001/x"),
        ("htp://u:p@h", "htp://h"),
        ("u:p@h:5001", "h:5001"),
        ("http://u:p@ss@h", "http://h"),
        ("local:/home/a@b", "local:/home/a@b"),
        ("unix:/run/a@b", "unix:/run/a@b"),
        ("kubo", "kubo"),
    ],
)
def test_what_people_are_shown_has_no_credentials(address: str, shown: str) -> None:
    assert without_credentials(address) == shown


def test_each_way_of_calling_a_node_sends_its_credentials_to_its_path_and_errors_show_none() -> None:
    seen: list[tuple[str, str | None]] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            seen.append((self.path.split("?")[0], self.headers["Authorization"]))
            self.rfile.read(int(self.headers["Content-Length"] or 0))
            answer = {"/kubo/api/v0/version": {"Version": "0.43.0"}}.get(seen[-1][0])
            body = json.dumps(answer or {"Message": "no"}).encode()
            self.send_response(200 if answer else 500)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        engine = open_engine(f"http://alice:secret@127.0.0.1:{server.server_port}/kubo")
        for call in (engine.status, lambda: engine.publish("t", b"x")):  # by ipfshttpclient, by httpx
            with pytest.raises(EngineError) as raised:
                call()
            assert "secret" not in f"{raised.value} {raised.value.fix}"
        engine.close()
        server.shutdown()
    assert {path.split("/api/")[0] for path, _ in seen} == {"/kubo"}
    assert {authorization for _, authorization in seen} == {"Basic YWxpY2U6c2VjcmV0"}

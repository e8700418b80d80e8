"""Who may see the page of `peer web`, decided without a server."""

from __future__ import annotations

import hashlib
import re
import stat
from http import HTTPStatus
from pathlib import Path

import pytest

from peer.base.errors import PeerError
from peer.home.home import Home
from peer.web.access import HEADERS, MAX_SESSIONS, Sessions, is_bearer, metrics_token, why_refused
from protocol.status.role_status import Lack

STATIC = Path(__file__).parents[3] / "peer" / "web" / "static"


@pytest.mark.parametrize("host", ["127.0.0.1:7000", "localhost:7000", "[::1]:7000"])
def test_a_browser_on_this_machine_may_ask(host: str) -> None:
    assert why_refused("GET", {"host": host, "sec-fetch-site": "same-origin"}, 7000) is None
    assert why_refused("GET", {"host": host, "origin": f"http://{host}"}, 7000) is None


@pytest.mark.parametrize("host", ["", "evil.example:7000", "127.0.0.1:7001", "127.0.0.1", "0.0.0.0:7000"])
def test_a_name_that_was_made_to_lead_here_is_refused(host: str) -> None:
    assert why_refused("GET", {"host": host}, 7000) == (HTTPStatus.FORBIDDEN, "that is not a name of this server")


@pytest.mark.parametrize(
    "headers",
    [
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"origin": "http://127.0.0.1:7001"},
    ],
)
def test_another_page_is_refused(headers: dict[str, str]) -> None:
    refused = why_refused("GET", {"host": "127.0.0.1:7000", **headers}, 7000)
    assert refused == (HTTPStatus.FORBIDDEN, "another page asks")


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "HEAD"])
def test_nothing_can_be_changed(method: str) -> None:
    refused = why_refused(method, {"host": "127.0.0.1:7000"}, 7000)
    assert refused is not None
    assert refused[0] == HTTPStatus.METHOD_NOT_ALLOWED


def test_a_link_works_once() -> None:
    sessions = Sessions()
    token = sessions.new_link()
    cookie = sessions.enter(token)
    assert cookie is not None
    assert sessions.knows(cookie)
    assert sessions.enter(token) is None


@pytest.mark.parametrize("token", ["", "x", "\ud800", "é" * 43])
def test_what_is_no_link_opens_nothing(token: str) -> None:
    sessions = Sessions()
    sessions.new_link()
    assert sessions.enter(token) is None
    assert not sessions.knows(token)


def test_of_many_browsers_the_first_is_forgotten() -> None:
    sessions = Sessions()
    cookies = [sessions.enter(sessions.new_link()) or "" for _ in range(MAX_SESSIONS + 1)]
    assert [sessions.knows(cookie) for cookie in cookies[:2]] == [False, True]


def test_the_token_of_prometheus_stays_and_is_for_its_owner(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    token = metrics_token(home)
    assert metrics_token(home) == token
    assert stat.S_IMODE((home.path / "metrics.token").stat().st_mode) == 0o600
    assert is_bearer(f"Bearer {token}", token)
    assert not is_bearer(token, token)


def test_a_file_without_a_token_is_no_token(tmp_path: Path) -> None:
    home = Home(tmp_path / "home").create()
    (home.path / "metrics.token").write_text("")
    with pytest.raises(PeerError, match="holds no token"):
        metrics_token(home)


def test_the_policy_allows_no_inline_script_and_nothing_from_elsewhere() -> None:
    policy = HEADERS["Content-Security-Policy"]
    assert "unsafe" not in policy
    assert not re.search(r"https?:|\*", policy)
    page = (STATIC / "index.html").read_text()
    assert not re.search(r"<script(?![^>]* src=\"static/)|\son\w+=|style=|//", page.replace("<!DOCTYPE html>", ""))


@pytest.mark.parametrize("lack", Lack)
def test_the_page_has_words_for_whatever_a_peer_waits_for(lack: Lack) -> None:
    words = re.search(r"const LACKS = \{(.*?)\};", (STATIC / "app.js").read_text(), re.DOTALL)
    assert words is not None
    assert f'"{lack.value}": "' in words[1]


def test_the_chart_library_is_the_one_that_its_page_names() -> None:
    named = dict(re.findall(r"^\| `(\S+)` \| `([0-9a-f]{64})` \|$", (STATIC / "README.md").read_text(), re.MULTILINE))
    assert named == {file: hashlib.sha256((STATIC / file).read_bytes()).hexdigest() for file in named}
    assert set(named) == {"uPlot.iife.min.js", "uPlot.min.css"}

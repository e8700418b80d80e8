"""The server of the page: what it answers to whom."""

from __future__ import annotations

import json
import math
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from chains import ALICE, BOB, SECOND
from pages import Growing, Served, served

from peer.engine.local.engine import LocalEngine
from peer.home.journal import Journal
from peer.web import board, running
from peer.web.access import metrics_token
from protocol.blocks.cid import CID, Block
from protocol.records.bodies import Chained, Comparison
from protocol.records.signed_records import parse_record


@pytest.fixture(scope="module")
def growing(tmp_path_factory: pytest.TempPathFactory) -> Growing:
    made = Growing(tmp_path_factory.mktemp("web"))
    made.exchange(1, loss=0.5)
    made.exchange(2, loss=0.25, diverged=math.nan)
    made.keep()
    return made


@pytest.fixture(scope="module")
def page(growing: Growing) -> Iterator[Served]:
    with served(growing.home) as one:
        yield one


@pytest.fixture
def stranger(page: Served) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=page.address, trust_env=False) as client:
        yield client


@pytest.fixture
def visitor(page: Served, stranger: httpx.Client) -> httpx.Client:
    stranger.base_url = stranger.get(page.link, follow_redirects=True).raise_for_status().url
    return stranger


def read(visitor: httpx.Client, path: str) -> Any:
    """As a browser reads it: what JSON lacks is an error."""
    return json.loads(visitor.get(path).raise_for_status().text, parse_constant=pytest.fail)


def until_read(visitor: httpx.Client, growing: Growing) -> Any:
    """The run, once both exchanges are read."""
    for _ in range(2000):
        about = read(visitor, f"/api/runs/{growing.written.run}")
        if about["exchanges"] == 2 or about["trouble"]:
            return about
    raise AssertionError(about)


@pytest.mark.parametrize("path", ["/", "/nothing", "/IN/", "/IN/api/status", "/IN/static/app.js", "/IN/events"])
def test_whoever_has_no_cookie_gets_nothing(path: str, page: Served, stranger: httpx.Client) -> None:
    assert stranger.get(path.replace("/IN", page.sessions.folder)).status_code == 403


def test_a_link_gives_a_cookie_that_no_script_and_no_other_page_has(page: Served, stranger: httpx.Client) -> None:
    link, before = page.link, page.entered
    answer = stranger.get(link)
    cookie, folder = answer.headers["set-cookie"].lower(), page.sessions.folder
    assert (answer.status_code, answer.headers["location"]) == (303, f"{folder}/")
    assert "httponly" in cookie
    assert "samesite=strict" in cookie
    assert f"; path={folder.lower()};" in f"{cookie};"
    assert page.entered == before + 1
    assert stranger.get(f"{folder}/").status_code == 200
    assert httpx.get(link, trust_env=False).status_code == 403


def test_each_answer_has_the_policy(visitor: httpx.Client) -> None:
    for path in ("/", "/api/status", "/nothing"):
        assert "default-src 'none'; script-src 'self'" in visitor.get(path).headers["content-security-policy"]


def test_another_host_is_refused_even_with_the_cookie(visitor: httpx.Client) -> None:
    assert visitor.get("/", headers={"host": "evil.example"}).status_code == 403


def test_a_run_is_read_with_its_curves_failures_and_records(visitor: httpx.Client, growing: Growing) -> None:
    about = until_read(visitor, growing)
    assert (about["trouble"], about["closed"], about["height"]) == ("", False, 4)
    assert [(each["who"], each["round"]) for each in about["failures"]] == [("bob", 2), ("bob", 1)]
    run = growing.written.run
    metric, diverged = read(visitor, f"/api/runs/{run}/curves")["metrics"]
    assert (metric["name"], metric["x"]) == ("train/loss", [1, 2])
    assert (diverged["name"], diverged["curves"][0]["y"]) == ("train/diverged", [None])
    assert [row["round"] for row in read(visitor, f"/api/runs/{run}/rounds")["rows"]] == [2, 1]
    assert [row["height"] for row in read(visitor, f"/api/runs/{run}/records?before=3")["rows"]] == [2, 1, 0]


def above_the_run_record(growing: Growing) -> Iterator[CID]:
    cid, source = growing.written.head, growing.written.scribe.source
    while isinstance(body := parse_record(Block(cid, source.get(cid))).body, Chained) and body.prev is not None:
        yield cid
        cid = body.prev


def test_a_page_shows_how_far_a_run_is_read_before_any_record_is_verified(
    growing: Growing, monkeypatch: pytest.MonkeyPatch
) -> None:
    allowed, get, run = threading.Semaphore(0), LocalEngine.get_here, growing.written.run
    later = set(above_the_run_record(growing))

    def gated(engine: LocalEngine, cid: CID) -> bytes:
        assert cid not in later or allowed.acquire(timeout=60)
        return get(engine, cid)

    monkeypatch.setattr(LocalEngine, "get_here", gated)
    monkeypatch.setattr(board, "RECORDS_AT_ONCE", 1)
    with served(growing.home) as page:
        told = []
        for _ in range(3):
            told.append(page.board.about(run))
            allowed.release()
            for _ in range(6000):
                if page.board.about(run)["met"] > told[-1]["met"]:
                    break
                time.sleep(0.01)
        allowed.release(100)
    assert [(about["met"], about["height"], about["known"]) for about in told] == [(0, 0, 4), (1, 0, 4), (2, 0, 4)]


def test_the_records_that_a_home_signed_are_not_asked_of_its_node(
    growing: Growing, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, get = set[CID](), LocalEngine.get_here

    def noted(engine: LocalEngine, cid: CID) -> bytes:
        asked.add(cid)
        return get(engine, cid)

    head, blocks = growing.written.head, {block.cid: block for block in growing.written.blocks}
    with Journal(growing.home.journal) as journal:
        journal.keep_own([blocks[head]])
    monkeypatch.setattr(LocalEngine, "get_here", noted)
    with served(growing.home) as page:
        for _ in range(6000):
            if page.board.about(growing.written.run)["height"] == 4:
                break
            time.sleep(0.01)
    assert head not in asked
    assert growing.written.run in asked


def test_only_a_members_own_ack_of_this_very_chain_confirms_it(visitor: httpx.Client, growing: Growing) -> None:
    until_read(visitor, growing)
    path = f"/api/runs/{growing.written.run}"
    heads = {row["height"]: CID.parse(row["cid"]) for row in read(visitor, f"{path}/records")["rows"]}
    growing.ack(BOB, 2, heads[2], signer=ALICE)
    growing.ack(BOB, 3, heads[0])
    growing.ack(BOB, 1, heads[1])
    growing.ack(ALICE, 2, heads[2])
    for _ in range(2000):
        if len(confirmed := read(visitor, path)["confirmed"]) == 2:
            break
    assert confirmed == [
        {"who": "alice", "height": 2, "recomputed": ""},
        {"who": "bob", "height": 1, "recomputed": ""},
    ]


def test_each_round_names_who_led_and_which_servers_recomputed_it(visitor: httpx.Client, growing: Growing) -> None:
    until_read(visitor, growing)
    path = f"/api/runs/{growing.written.run}"
    heads = {row["height"]: CID.parse(row["cid"]) for row in read(visitor, f"{path}/records")["rows"]}
    growing.recomputed(SECOND, 1, 2, heads[2], Comparison.EQUAL)
    growing.recomputed(SECOND, 3, 3, heads[3], Comparison.DIVERGED)
    for _ in range(2000):
        if (rounds := read(visitor, f"{path}/rounds"))["recomputed"] and rounds["rows"][0]["contradicted_by"]:
            break
    told = [(row["height"], row["leader"], row["recomputed_by"], row["contradicted_by"]) for row in rounds["rows"]]
    assert told == [(3, "server", [], ["second server"]), (1, "server", ["second server"], [])]
    assert not rounds["changed"]


def test_every_record_opens(visitor: httpx.Client, growing: Growing) -> None:
    until_read(visitor, growing)
    for row in read(visitor, f"/api/runs/{growing.written.run}/records")["rows"]:
        assert read(visitor, f"/api/blocks/{row['cid']}")["block"]["type"] == row["type"]


@pytest.mark.parametrize("path", ["/api/blocks/x", "/api/runs/bafyx", "/api/runs/../../etc/passwd"])
def test_what_is_not_here_is_said(path: str, visitor: httpx.Client) -> None:
    assert visitor.get(path).status_code == 404


def test_the_report_is_a_page_without_any_script(visitor: httpx.Client, growing: Growing) -> None:
    answer = visitor.get(f"/runs/{growing.written.run}/report", timeout=60)
    assert answer.status_code == 200, answer.text
    assert "sandbox" in answer.headers["content-security-policy"]
    assert "<script" not in answer.text
    assert "trial" in answer.text


def test_prometheus_has_a_token_of_its_own(stranger: httpx.Client, page: Served) -> None:
    assert stranger.get("/metrics").status_code == 401
    token = metrics_token(page.home)
    answer = stranger.get("/metrics", headers={"authorization": f"Bearer {token}"})
    assert "pollen_up 0\n" in answer.text
    assert stranger.get("/api/status", headers={"authorization": f"Bearer {token}"}).status_code == 403


def hangs_up(connection: socket.socket) -> bool:
    connection.settimeout(60)
    return connection.recv(1) == b""


def test_whoever_opens_too_many_connections_is_hung_up_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running, "CONNECTIONS", 1)
    monkeypatch.setattr(running, "IDLE", 600)
    with served(Growing(tmp_path).home) as page:
        place = ("127.0.0.1", page.port)
        with socket.create_connection(place), socket.create_connection(place) as second:
            assert hangs_up(second)


def test_whoever_asks_nothing_is_hung_up_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running, "IDLE", 0)
    with served(Growing(tmp_path).home) as page, socket.create_connection(("127.0.0.1", page.port)) as idle:
        assert hangs_up(idle)

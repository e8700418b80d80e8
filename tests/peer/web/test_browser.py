"""The page in a real browser: a run watched from its start to its close, and whatever others chose as text."""

from __future__ import annotations

import dataclasses
import os
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from browser import IS_HERE, Browser, browser
from pages import Growing, served
from statuses import a_status

from peer.home.federations import FederationStore, StoredFederation
from peer.home.journal import Journal
from peer.home.kept_contents import Kind
from peer.keeping.stock import Stock
from peer.status.peer_status import Part, PeerStatus
from peer.web import board
from protocol.records.bodies import Role
from protocol.status.role_status import Doing, Kept, Lack, Recomputation, Wait, WitnessStatus
from protocol.status.takeover_status import TakeoverLack, TakeoverStatus

pytestmark = [
    pytest.mark.skipif(not IS_HERE, reason="no chromium or chromedriver here: Debian's packages have them"),
    pytest.mark.xdist_group("browser"),  # it is started once
]

HOSTILE = '<img src=x onerror="document.title=1">loss'
OVER = "return document.documentElement.scrollWidth - document.documentElement.clientWidth"
PICTURES = os.environ.get("PICTURES")
"""A folder for screenshots, to look at them."""


@pytest.fixture(scope="module")
def window() -> Iterator[Browser]:
    with browser() as one:
        yield one


def look(window: Browser, name: str) -> None:
    """Nothing may lie beside the page, whether it is wide or narrow."""
    for width in (1280, 400):
        window.size(width)
        window.wait("return document.querySelector('main h1')")
        if PICTURES:
            window.picture(Path(PICTURES) / f"{name}-{width}.png")
        assert window.run(OVER) == 0, (name, width)


def test_a_run_is_watched_from_its_start_to_its_close(window: Browser, tmp_path: Path) -> None:
    growing = Growing(tmp_path)
    with served(growing.home) as page:
        window.open(page.link)
        window.wait("return document.querySelector('main h1')")
        look(window, "now")
        window.run("location.hash = '#/runs'")
        window.wait("return document.querySelector('main a.cid')?.textContent.length === 14")
        window.run("document.querySelector('main a.cid').focus()")
        window.press("Enter")
        window.wait("return document.body.innerText.includes('No numbers yet')")
        for number in (1, 2):
            growing.exchange(number, **{"loss": 1 / number, HOSTILE: 0.5})
            growing.keep()
            window.wait(f"return document.body.innerText.includes('{number}, round {number}')")
        window.wait("return document.querySelectorAll('figure canvas').length === 2")
        growing.written.scribe.add(growing.written.scribe.close())
        growing.keep()
        window.wait("return [...document.querySelectorAll('dd')].some((each) => each.textContent === 'closed')")

        captions = window.run("return [...document.querySelectorAll('figcaption')].map((each) => each.textContent)")
        assert sorted(captions) == [f"train/{HOSTILE}", "train/loss"]
        assert window.run("return document.querySelectorAll('main img').length") == 0
        assert "bob" in window.run("return [...document.querySelectorAll('td')].map((each) => each.innerText)")
        look(window, "run")
        loaded = window.run("return performance.getEntriesByType('resource').map((each) => new URL(each.name).origin)")
        assert set(loaded) == {page.address}
        window.dark()
        window.run("document.querySelectorAll('main table a.cid')[0].click()")
        window.wait("return document.querySelector('main ul.tree')")
        look(window, "block")
    assert window.errors() == []


def a_part(status: PeerStatus, role: Role, **changes: Any) -> Part:
    (part,) = status.parts
    return dataclasses.replace(part, role=dataclasses.replace(part.role, role=role, **changes))


def test_what_a_keeper_a_standby_and_a_paused_server_do_is_seen(
    window: Browser, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    status, keep = a_status(), "models=last:4+best updates=last:2"
    (of_server,) = status.parts
    assert of_server.role.run is not None
    planned = dataclasses.replace(of_server.role.run, keep=keep)
    parts = (
        a_part(
            status,
            Role.SERVER,
            run=planned,
            waits=(Wait(Lack.ROOM),),
            witnesses=(WitnessStatus("hospital-b", Doing.HERE, 4),),
            takeover=TakeoverStatus(TakeoverLack.STANDBY, 0, 5, 3),
        ),
        a_part(status, Role.SERVER, recomputed=Recomputation(3, 6, 1, why=HOSTILE)),
        a_part(status, Role.KEEPER, keeps=Kept(1, 2, 3, 4)),
    )
    told = dataclasses.replace(status, parts=parts, waits=(f"{HOSTILE} waits to be let in",))
    monkeypatch.setattr(board, "ask", lambda *_: told)
    with served(Growing(tmp_path).home) as page:
        window.open(page.link)
        window.wait("return document.querySelectorAll('main section').length > 3")
        look(window, "roles")
        shown = window.text()
    for words in (keep, "room on the disk", "3 exchanges as the server did, up to height 6, and 1", HOSTILE):
        assert words in shown
    assert "hospital-b is here, and has recomputed up to height 4" in shown
    assert "not possible: no other server stands by" in shown
    assert "runs: 1 open, 3 closed and whole, 2 closed and not whole yet" in shown
    assert "1 of 1 members are here" in shown


def test_the_best_model_and_what_was_dropped_are_seen(window: Browser, tmp_path: Path) -> None:
    growing = Growing(tmp_path, keep="models=last:1+best updates=all", best=f"{HOSTILE}:min")
    for number, loss in enumerate((0.5, 0.25, 0.75), 1):
        growing.exchange(number, **{HOSTILE: loss})
    growing.keep()
    scribe = growing.written.scribe
    FederationStore(growing.home).save(StoredFederation(scribe.first, dict(scribe.source), bytes(32), ()))
    with Journal(growing.home.journal) as journal:
        journal.remember_keeping("models=last:1 updates=all; 2G")
        Stock(growing.engine, journal).take(growing.written.run, growing.written.head)
        model = next(link for link in journal.contents.links(growing.written.run) if link.kind is Kind.MODEL)
        journal.contents.let_go(model.content, [], time.time())
    with served(growing.home) as page:
        window.open(page.link)
        window.wait("return document.querySelector('main h1')")
        window.run(f"location.hash = '#/run/{growing.written.run}'")
        window.wait("return document.body.innerText.includes('3, round 3')")
        assert f"the model sent in round 2: {HOSTILE} 0.25, the smallest mean" in window.text()
        assert "1 content, dropped here by policy" in window.text()
        look(window, "best")
        window.run("location.hash = '#/disk'")
        window.wait("return document.querySelector('main h1').textContent === 'Disk'")
        look(window, "disk")
        assert "1 content" in window.text()
        assert "2G" in window.text()
        window.run("location.hash = '#/federation'")
        window.wait("return document.querySelector('main h1').textContent === 'Federation'")
        look(window, "federation")
        assert "take 1 of 1 admins" in window.text()


def test_a_chart_is_zoomed_with_keys_and_keeps_that_in_other_colours(window: Browser, tmp_path: Path) -> None:
    growing, range_shown = Growing(tmp_path), "return document.querySelector('figure [role=status]').textContent"
    first_line = (
        "const copy = Object.assign(document.createElement('canvas'), { width: 800, height: 480 });"
        "const drawn = copy.getContext('2d', { willReadFrequently: true });"
        "drawn.drawImage(document.querySelector('figure canvas'), 0, 0);"
        "const { data } = drawn.getImageData(0, 0, 800, 480);"
        "const seen = {}; for (let at = 0; at < data.length; at += 4) if (data[at + 3] === 255)"
        "{ const key = data.slice(at, at + 3).join(); seen[key] = (seen[key] || 0) + 1; }"
        "return Object.keys(seen).sort((a, b) => seen[b] - seen[a]).slice(0, 3).join(' ')"
    )
    for number in range(1, 10):
        growing.exchange(number, loss=1 / number)
    growing.keep()
    with served(growing.home) as page:
        window.open(page.link)
        window.dark(False)
        window.run(f"location.hash = '#/run/{growing.written.run}'")
        window.wait("return document.body.innerText.includes('9, round 9')")
        window.wait("return document.querySelector('figure canvas')")
        window.run("document.querySelector('figure [role=img]').focus()")
        window.press("+")
        assert window.wait(range_shown) == "rounds 3 to 7 are shown"
        light = window.run(first_line)
        window.dark()
        window.wait(f"return (() => {{ {first_line} }})() !== '{light}'")
        assert window.run(range_shown) == "rounds 3 to 7 are shown"
        assert window.run("return document.activeElement.getAttribute('role')") == "img"
        look(window, "zoomed")
        window.press("0")
        window.wait(range_shown.replace("textContent", "textContent === ''"))
        assert window.errors() == []


def test_another_server_on_this_machine_is_not_shown_the_cookie(window: Browser, tmp_path: Path) -> None:
    shown: list[str | None] = []

    class Other(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            shown.append(self.headers["cookie"])
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"<h1>another</h1>")

        def log_message(self, format: str, *about: object) -> None:
            pass

    with served(Growing(tmp_path).home) as page, HTTPServer(("127.0.0.1", 0), Other) as other:
        threading.Thread(target=other.serve_forever, daemon=True).start()
        window.open(page.link)
        window.wait("return document.querySelector('main h1')")
        window.open(f"http://127.0.0.1:{other.server_port}/api/status")
        window.wait("return document.querySelector('h1')?.textContent === 'another'")
        other.shutdown()
    assert set(shown) == {None}


def test_the_first_press_of_tab_leads_to_the_content(window: Browser, tmp_path: Path) -> None:
    with served(Growing(tmp_path).home) as page:
        window.open(page.link)
        window.wait("return document.querySelector('main h1')")
        window.press("Tab")
        assert window.run("return document.activeElement.textContent") == "Skip to the content"
        assert window.run("return getComputedStyle(document.activeElement).outlineStyle") != "none"
        window.run("location.hash = '#/disk'")
        window.wait("return document.querySelector('main h1').textContent === 'Disk'")
        window.run("document.querySelector('.skip').focus()")
        window.press("Enter")
        assert window.run("return [document.activeElement.id, location.hash]") == ["main", "#/disk"]

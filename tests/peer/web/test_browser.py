"""The page in a real browser: a run watched from its start to its close, and whatever others chose as text."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from browser import IS_HERE, Browser, browser
from pages import Growing, served

pytestmark = pytest.mark.skipif(not IS_HERE, reason="no chromium or chromedriver here: Debian's packages have them")

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

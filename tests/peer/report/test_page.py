"""The page of a report, and its other forms: what hostile texts make of them, and what a real browser makes of it."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from chains import ALICE, BOB, ENVIRONMENT, MEMBERS, Scribe
from flwr.app import Array, ArrayRecord, ConfigRecord, MetricRecord, RecordDict
from inspected_runs import BUNDLE, WrittenRun

from peer import api
from protocol.blocks.bundle import write_bundle
from protocol.blocks.car import write_car
from protocol.records.bodies import Run, RunPrivate
from strategy.replay.format import REPLAY_FORMAT

pytestmark = pytest.mark.xdist_group("page")  # it is written once

CHROMIUM = shutil.which("chromium")
HOSTILE = '<script>fetch("http://x.example/")</script><img src=x onerror=alert(1)>&amp;{{7*7}}$x^2$\u202e\x1b[31m|`*_[a](http://x.example)'


def hostile_run() -> WrittenRun:
    """Two rounds of two clients. Every text that somebody may choose is `HOSTILE`, or as long as it may be."""
    names = {each.id: f"{HOSTILE[:50]}{number}" for number, each in enumerate(MEMBERS.values())}
    scribe = Scribe(MEMBERS, names=names, name=HOSTILE[:60])
    private = RunPrivate(
        name=HOSTILE,
        version=HOSTILE,
        config=((HOSTILE, HOSTILE), ("long", "x" * 5_000)),
        app=write_bundle(BUNDLE)[0],
        replay_format=REPLAY_FORMAT,
        environment=ENVIRONMENT,
    )
    run = WrittenRun(scribe, **scribe.private(private, Run.TYPE, None))
    for number in (1, 2):
        records = {HOSTILE: ConfigRecord({"server-round": number}), "a": ArrayRecord({HOSTILE: _array(number)})}
        sent = run.store(RecordDict(records))
        scribe.add(scribe.dispatch(scribe.group(ALICE, BOB, content=sent)))
        metrics = MetricRecord({HOSTILE: 1.0 / number, "y" * 1_000: float("nan"), "num-examples": 3})
        given = run.store(RecordDict({"m": metrics, "a": ArrayRecord({HOSTILE: _array(number + 1)})}))
        bob = scribe.error(BOB) if number == 2 else scribe.taken(BOB, content=given)
        scribe.add(scribe.collect(scribe.taken(ALICE, content=given), bob, reasons=[HOSTILE]))
    return run


def _array(number: int) -> Array:
    return Array(np.full(8, number, np.float32))


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The report of the hostile run, in a form."""
    run, folder = hostile_run(), tmp_path_factory.mktemp("hostile")
    car = folder / "run.car"
    car.write_bytes(b"".join(write_car([run.head], run.blocks)))
    with api.open_run(car) as opened:
        assert opened.verify().verdict is api.Verdict.VERIFIED
        for form in ("html", "md", "json"):
            opened.write_report(folder / f"report.{form}")
    return lambda form: folder / f"report.{form}"


class Elements(HTMLParser):
    """The elements of a page, and the addresses in them."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.links: list[str] = []
        self.handlers: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.links += [value or "" for name, value in attrs if name in ("src", "href", "srcset", "data", "action")]
        self.handlers += [name for name, _ in attrs if name.startswith("on")]


def test_no_text_becomes_an_element_or_an_address_of_the_page(written: Callable[[str], Path]) -> None:
    elements = Elements()
    elements.feed(written("html").read_text())
    assert not elements.tags & {"script", "img", "iframe", "link", "object", "form"}
    assert elements.handlers == []
    assert all(link.startswith("#") for link in elements.links)


@pytest.mark.parametrize("form", ["html", "md", "json"])
def test_a_report_holds_nothing_that_a_screen_obeys_and_no_endless_text(
    written: Callable[[str], Path], form: str
) -> None:
    text = written(form).read_text()
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", text)
    assert "x" * 301 not in text
    assert "y" * 301 not in text


def test_nothing_in_the_text_form_is_markup_of_somebody_else(written: Callable[[str], Path]) -> None:
    text = written("md").read_text()
    assert "<script" not in text
    assert not re.search(r"(?<!\\)\]\(", text)
    assert "://" not in text


def test_the_data_form_has_what_was_said(written: Callable[[str], Path]) -> None:
    found = json.loads(written("json").read_text())
    assert found["app"]["name"] == HOSTILE
    assert dict(found["app"]["settings"])["long"].endswith("(5000 characters)")
    assert HOSTILE in found["rounds"][0]["means"]


def chromium(*options: str) -> subprocess.CompletedProcess[str]:
    assert CHROMIUM is not None
    words = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", *options]
    return subprocess.run(words, capture_output=True, text=True, check=True, timeout=120)


_MEASURE = """<!DOCTYPE html><iframe id="page" style="width:WIDTHpx;height:900px;border:0"></iframe><script>
const page = document.getElementById("page");
page.onload = () => {
  const inside = page.contentWindow;
  document.title = JSON.stringify({
    over: page.contentDocument.documentElement.scrollWidth - page.contentDocument.documentElement.clientWidth,
    loaded: inside.performance.getEntriesByType("resource").length,
    curves: page.contentDocument.querySelectorAll("svg.curve").length,
  });
};
page.srcdoc = TEXT;
</script>"""


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium here: Debian's package has it")
@pytest.mark.parametrize("width", [1280, 400])
def test_a_browser_loads_nothing_complains_of_nothing_and_scrolls_nothing_sideways(
    written: Callable[[str], Path], tmp_path: Path, width: int
) -> None:
    text = json.dumps(written("html").read_text()).replace("</", "<\\/")
    frame = tmp_path / "frame.html"
    frame.write_text(_MEASURE.replace("WIDTH", str(width)).replace("TEXT", text))
    done = chromium("--dump-dom", "--virtual-time-budget=5000", frame.as_uri())
    title = re.search("<title>(.*?)</title>", done.stdout)
    assert title is not None, done.stdout[:500]
    seen = json.loads(title[1])
    assert (seen["over"], seen["loaded"]) == (0, 0)
    assert seen["curves"] >= 4
    assert "CONSOLE" not in done.stderr


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium here: Debian's package has it")
def test_it_prints_on_a_few_pages_of_a4(written: Callable[[str], Path], tmp_path: Path) -> None:
    chromium("--no-pdf-header-footer", f"--print-to-pdf={tmp_path / 'report.pdf'}", written("html").as_uri())
    pdf = (tmp_path / "report.pdf").read_bytes()
    assert 2 <= len(re.findall(rb"/Type\s*/Page\b", pdf)) <= 12
    boxes = re.findall(rb"/MediaBox\s*\[\s*0 0 ([\d.]+) ([\d.]+)", pdf)
    assert {(round(float(wide)), round(float(high))) for wide, high in boxes} <= {(595, 842), (596, 842), (594, 842)}

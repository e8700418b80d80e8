"""What a report says of exchanges that a replay did not make again bit for bit."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import closing
from html.parser import HTMLParser
from pathlib import Path

import pytest
from inspected_runs import finished_run

from peer.audit.audit import Audit
from peer.history.run_sources import CarSource
from peer.history.scratch import Scratch
from peer.replay.replay import ComparedExchange, Replay
from peer.report.writing import report_of, write_report
from protocol.blocks.car import write_car
from protocol.replay.differences import Difference, Outcome

LAYER = Difference("the tensor differs", "arrays", "w", 1e-7, float("inf"), 2e-8, 0.25)
UNBOUNDED = Difference("the tensor differs", "arrays", "w", 1e-7, 3.0, unbounded="the app is not Flower's own")
COMPARED = (
    ComparedExchange(1, 1, 1, 2),
    ComparedExchange(3, 2, 2, 2, Outcome.UNDECIDED, LAYER.what, LAYER),
    ComparedExchange(5, 2, None, 0, Outcome.UNDECIDED, UNBOUNDED.what, UNBOUNDED),
)


@pytest.fixture
def report(tmp_path: Path) -> Callable[..., Path]:
    """The report of a run of two exchanges that were replayed so, in a form."""

    def make(form: str, *compared: ComparedExchange) -> Path:
        run, car, path = finished_run(), tmp_path / "run.car", tmp_path / f"report.{form}"
        car.write_bytes(b"".join(write_car([run.head], run.blocks)))
        with Scratch() as scratch, closing(CarSource(car)) as source:
            audit = Audit(run.head, source, scratch)
            audit.run().replay = Replay(at_end=next((each for each in compared if each.number is None), None))
            for each in compared:
                if each.number is not None and (row := scratch.row(each.number)) is not None:
                    scratch.put_row(each.number, json.dumps({**json.loads(row), "compared": each.value()}))
            with report_of(audit, scratch, "peer report") as gathered:
                write_report(gathered, path)
        return path

    return make


def test_each_difference_has_its_size_and_how_it_was_judged(report: Callable[..., Path]) -> None:
    layer, end = json.loads(report("json", *COMPARED).read_text())["differences"]
    assert (layer["number"], layer["round"], layer["height"], layer["tensor"]) == (2, 2, 3, "w")
    assert (layer["ulps"], layer["of_update"], layer["of_bound"]) == ("inf", 2e-8, 0.25)
    assert (end["number"], end["of_bound"], end["unbounded"]) == (None, None, "the app is not Flower's own")
    assert {layer["outcome"], end["outcome"]} == {"undecided"}


class Cells(HTMLParser):
    """The cells of the table of differences."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self._inside = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "section":
            self._inside = ("aria-labelledby", "differences") in attrs

    def handle_data(self, data: str) -> None:
        if self._inside and data.strip():
            self.found.append(data.strip())


ROW = ["2", "3", "arrays, w", "1e-07", "inf", "2e-08", "0.25", "this machine cannot tell"]


def test_people_read_the_same(report: Callable[..., Path]) -> None:
    page = Cells()
    page.feed(report("html", *COMPARED).read_text())
    cells = " | ".join(page.found)
    assert f"| {' | '.join(ROW)} | the end |" in cells
    assert f"\n| {' | '.join(ROW)} |\n" in report("md", *COMPARED).read_text()


@pytest.mark.parametrize("form", ["html", "md"])
def test_nothing_is_said_of_differences_if_all_was_equal(report: Callable[..., Path], form: str) -> None:
    assert "What differed" not in report(form, *COMPARED[:1]).read_text()

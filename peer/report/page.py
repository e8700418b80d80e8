"""A report as one HTML file: no script, nothing to load, for a screen or for paper.

Every text goes through `visible` and is escaped, whoever wrote it, in one place: jinja2's ``finalize`` and autoescape.
What is not escaped are drawings, which hold no text of others.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from peer.report import words
from peer.report.drawing import Pen
from peer.report.facts import MAX_LINES, Curve, RunReport, Table
from protocol.visible import visible

ROWS: Final = 100
"""Rows of a table. A longer one is split, and all parts but the first are folded."""


@dataclass(frozen=True, slots=True)
class _Block:
    """A part of a table. Its rows are read when they are written."""

    title: str
    rows: Iterable[Any]
    only: bool
    """Whether it is all of the table."""


@dataclass(frozen=True, slots=True)
class _Swatch:
    """A line as the key to the curves shows it."""

    name: str
    colour: str
    width: float
    mark: str
    """The path of its mark; empty if it has none."""


def page_of(report: RunReport) -> Iterator[str]:
    """The page, a part at a time."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent, encoding="utf-8"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_harmless,
        trim_blocks=True,
        keep_trailing_newline=True,
    )
    names = words.clients_of(report)
    every = [*names, *(name for name in words.distance_clients_of(report) if name not in names)]
    environment.filters.update(_filters(report, every))
    return environment.get_template("page.html").generate(**_values(report))


def _harmless(value: object) -> object:
    """What an expression of the template shows. Markup is the template's own, or a drawing."""
    return visible(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _filters(report: RunReport, names: Sequence[str]) -> dict[str, Any]:
    pen = Pen()
    return {
        "moment": words.moment,
        "day": lambda seconds: words.moment(seconds)[:10],
        "place": words.place,
        "number": words.number,
        "size": words.bytes_of,
        "took": words.took,
        "people": words.people,
        "asked": words.asked,
        "in_place_of": words.in_place_of,
        "means": words.means,
        "round_number": lambda row: words.round_number(row, report.about.numbered),
        "difference": words.difference,
        "reign": words.reign,
        "by_client": words.by_client,
        "extremes": words.farthest,
        "under": words.under,
        "told": words.told,
        "draw": lambda curve: pen.draw(curve, words.counted(report), names),
        "shapes": Markup,
        "swatches": partial(_swatches, every=names),
    }


def _values(report: RunReport) -> dict[str, Any]:
    counted = words.counted(report)
    names = words.distance_clients_of(report)
    tables = {
        "round": _blocks(report.rounds, f"{counted}s" if not report.about.numbered else "exchanges"),
        "distance": _blocks(report.distances, "exchanges with training"),
        "error": _blocks(report.errors, "errors"),
        "difference": _blocks(report.differences, "differences"),
    }
    ids = [
        ("Records of the chain", _blocks(report.record_ids, "records")),
        ("Replies and contents", _blocks(report.content_ids, "replies and contents")),
    ]
    return {
        "title": f"{words.title_of(report)} in {words.federation_of(report)}",
        "app_title": words.title_of(report),
        "federation": words.federation_of(report),
        "judgement": report.judgement,
        "verdict_words": _after_colon(report.judgement.words),
        "judged_by_replay": report.app is not None and report.replayed,
        "about": report.about,
        "app": report.app,
        "differences_title": words.DIFFERENCES,
        "differences_are": words.DIFFERENCES_ARE,
        "difference_header": words.DIFFERENCE_HEADER,
        "difference_columns": ("n", "", "n", "n", "n", "", ""),
        "difference_blocks": tables["difference"],
        "folded_differences": len(tables["difference"]) > 1,
        "facts": list(words.facts_of(report)),
        "reigns_title": words.REIGNS,
        "reign_header": words.REIGN_HEADER,
        "reigns": report.reigns[:ROWS] if len(report.reigns) > 1 else (),
        "reigns_left_out": max(0, len(report.reigns) - ROWS) + report.reigns_left_out,
        "participants": report.participants,
        "changes": report.changes,
        "rounds": report.rounds,
        "round_blocks": tables["round"],
        "folded_rounds": len(tables["round"]) > 1,
        "rounds_caption": _rounds_caption(report),
        "confirmed": any(each.confirmed is not None for each in report.participants),
        "recomputed": any(each.recomputed_by for each in report.rounds),
        "counted": counted,
        "curves": report.curves,
        "metrics_left_out": report.metrics_left_out,
        "client_names": _keyed(report.curves, words.clients_of(report)),
        "distances": report.distances,
        "distance_blocks": tables["distance"],
        "folded_distances": len(tables["distance"]) > 1,
        "distance_curves": report.distance_curves,
        "distance_names": names,
        "few_clients": 0 < len(names) <= _COLUMNS,
        "errors": report.errors,
        "error_blocks": tables["error"],
        "folded_errors": len(tables["error"]) > 1,
        "ids": report.ids,
        "id_blocks": [(name, blocks) for name, blocks in ids if blocks],
        "folded": any(len(blocks) > 1 for blocks in (*tables.values(), *(blocks for _, blocks in ids))),
        "made": report.made,
        "sections": list(_sections(report)),
    }


_COLUMNS: Final = 5
"""Clients that have a column each in the table of distances."""

_MEAN: Final = "the mean"
_ALL: Final = "smallest to largest value of all clients"


def _keyed(curves: Sequence[Curve], names: Sequence[str]) -> list[str]:
    """The lines that the key to curves explains."""
    mean = [_MEAN] if any(curve.mean for curve in curves) else []
    band = [_ALL] if any(curve.band for curve in curves) else []
    return [*mean, *band, *names]


def _swatches(names: Sequence[str], every: Sequence[str]) -> Iterator[_Swatch]:
    for name in names:
        if name in (_MEAN, _ALL) and name not in every:
            yield _Swatch(name, "--mean" if name == _MEAN else "--c0", 2.4 if name == _MEAN else 8, "")
        else:
            at = every.index(name) % MAX_LINES
            yield _Swatch(name, f"--c{at}", 1.5, _MARKS[at])


_MARKS: Final = (
    "M13 6a3 3 0 1 0 6 0a3 3 0 1 0-6 0z",
    "M13 3h6v6h-6z",
    "M16 2.5l3.5 6.5h-7z",
    "M16 2l4 4-4 4-4-4z",
    "M16 9.5l3.5-6.5h-7z",
    "M15 2.5h2v2.5h2.5v2H17v2.5h-2V7h-2.5V5H15z",
    "M13 4l1.4-1.4L16 4.2l1.6-1.6L19 4l-1.6 2L19 8l-1.4 1.4L16 7.8l-1.6 1.6L13 8l1.6-2z",
    "M12.5 6l6.5-3.5v7z",
    "M19.5 6L13 2.5v7z",
    "M16 1.5l1.2 3.2h3.3l-2.6 2 1 3.3-2.9-2-2.9 2 1-3.3-2.6-2h3.3z",
)
"""The marks of `peer.report.drawing.MARKS`, in their order."""


def _blocks(table: Table[Any], what: str) -> list[_Block]:
    if len(table) <= ROWS:
        return [_Block(f"All {len(table)} {what}", table, only=True)] if len(table) else []
    rows = iter(table)  # of all parts: each is written once, in order
    return [
        _Block(f"{start + 1} to {min(start + ROWS, len(table))} of {len(table)} {what}", islice(rows, ROWS), only=False)
        for start in range(0, len(table), ROWS)
    ]


def _rounds_caption(report: RunReport) -> str:
    numbers = (
        "" if not report.about.numbered else "A number in brackets is an exchange's, which the app gave no round. "
    )
    return (
        f"{numbers}Times are in UTC. Out and back are bytes of contents, each once. A mean is weighted by num-examples "
        "if all answers have that, as Flower's FedAvg does; else it is the plain mean"
    )


def _sections(report: RunReport) -> Iterator[tuple[str, str]]:
    yield "checked", "Checked and not checked"
    yield "findings", "Findings"
    if len(report.differences):
        yield "differences", "Differences"
    yield "run", "The run"
    yield "members", "Who took part"
    if len(report.rounds):
        yield "rounds", "Rounds"
    if report.curves:
        yield "curves", "Metrics"
    if len(report.distances):
        yield "distances", "Distances"
    if len(report.rounds):
        yield "refused", "Refused replies"
    yield "ids", "Ids"
    yield "made", "How it was made"


def _after_colon(text: str) -> str:
    """The sentence of a verdict, which begins with the verdict itself."""
    said = text.partition(": ")[2] or text
    return f"{said[:1].upper()}{said[1:]}."

"""A report as Markdown: for a terminal, a code review or a wiki. It has no curves, and each table's first rows."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Final

from peer.report import words
from peer.report.facts import Curve, Id, RunReport
from protocol.visible import named, visible

ROWS: Final = 200
"""Rows of a table; the JSON form has all."""

_MARKUP: Final = re.compile(r"[\\`*_\[\]{}#+!|~$@^]")
_ENTITIES: Final = {ord("&"): "&amp;", ord("<"): "&lt;", ord(">"): "&gt;"}


def markdown_of(report: RunReport) -> Iterator[str]:
    """The text, a line or a few at a time."""
    for line in _lines(report):
        yield f"{line}\n"


def _lines(report: RunReport) -> Iterator[str]:
    judgement, made = report.judgement, report.made
    yield "# Audit report"
    yield ""
    yield f"A run of {_text(words.title_of(report))} in the federation {_text(words.federation_of(report))}"
    yield ""
    yield f"**{judgement.verdict.value}** {_text(judgement.words.partition(':')[2].strip())}"
    yield ""
    yield f"Root of trust: {_text(judgement.root_words)}"
    yield from _listed("Checked", judgement.checked)
    yield from _listed("Not checked", judgement.not_checked)
    yield from _heading("Findings")
    if not judgement.findings:
        yield "None: nothing is as it should not be."
    for kind, findings in (("finding", judgement.findings), ("remark", judgement.remarks)):
        for each in findings:
            where = "an unknown height" if each.height is None else f"height {each.height}"
            yield f"- {kind} at {where}, rule {each.rule}: {_text(each.message)}"
    if judgement.findings_left_out:
        yield f"- and {judgement.findings_left_out} findings more"
    if len(report.differences):
        yield from _heading(words.DIFFERENCES)
        yield words.DIFFERENCES_ARE
        yield ""
        yield from _table(
            [words.counted(report), *words.DIFFERENCE_HEADER],
            ([words.round_number(each, report.about.numbered), *words.difference(each)] for each in report.differences),
            len(report.differences),
        )
    yield from _heading("The run")
    yield from _table(["what", ""], words.facts_of(report))
    yield from _reigns(report)
    if report.app is not None:
        if report.app.settings:
            yield ""
            yield from _table(["setting", "value"], report.app.settings)
        yield ""
        yield from _table(["environment", "value"], report.app.environment)
        for went_on in report.app.went_on:
            yield ""
            header = [f"other from height {went_on.place.height} on", "before", "from there on"]
            yield from _table(header, went_on.changes)
        if report.app.differing:
            yield ""
            yield from _table(["other in the replay", "in the run", "in the replay"], report.app.differing)
    yield from _members(report)
    yield from _rounds(report)
    yield from _ids(report)
    yield from _heading("How this report was made")
    yield f"With Pollen {_text(made.version)}, at {words.moment(made.at)} UTC, by"
    yield ""
    yield f"    {visible(made.command)}"


def _reigns(report: RunReport) -> Iterator[str]:
    """Who led when, if that changed."""
    if len(report.reigns) > 1:
        yield from _heading(words.REIGNS, 3)
        count = len(report.reigns) + report.reigns_left_out
        yield from _table(words.REIGN_HEADER, map(words.reign, report.reigns), count)
        yield ""


def _members(report: RunReport) -> Iterator[str]:
    yield from _heading("Who took part")
    late = ["left out", "late"] if any(each.left_out for each in report.participants) else []
    header = ["label", "name", "roles", "since", "until", "asked", "answered", "errors", *late, "confirmed"]
    yield from _table(
        header,
        (
            [
                each.label,
                named(each.name),
                ", ".join(each.roles),
                words.place(each.since),
                words.place(each.until) if each.until else "the end",
                *map(str, (each.asked, each.answered, each.errors)),
                *(map(str, (each.left_out, each.late)) if late else ()),
                "" if each.confirmed is None else f"up to height {each.confirmed}",
            ]
            for each in report.participants
        ),
    )
    yield from _heading("Admissions and removals", 3)
    if not report.changes:
        yield "None while the run went on."
    for each in report.changes:
        yield f"- {words.place(each.place)}, manifest {each.version}: {_text(each.words)}"


def _rounds(report: RunReport) -> Iterator[str]:
    if not len(report.rounds):
        return
    yield from _heading("Rounds")
    yield "Times are in UTC. A mean is weighted by num-examples if all answers have that; else it is the plain mean."
    yield ""
    header = [
        words.counted(report),
        "message",
        "sent",
        "took",
        "participants",
        "out",
        "back",
        "metrics",
        "confirmed by",
        "recomputed by",
    ]
    yield from _table(
        header,
        (
            [
                words.round_number(each, report.about.numbered),
                " ".join(map(named, each.types)),
                words.moment(each.sent_at),
                words.took(each),
                words.asked(each),
                words.bytes_of(each.bytes_sent),
                words.bytes_of(each.bytes_received),
                words.means(each),
                words.people(each.confirmed_by),
                words.people(each.recomputed_by),
            ]
            for each in report.rounds
        ),
        len(report.rounds),
    )
    if report.curves:
        yield from _heading("Metrics")
        yield from _table(
            ["metric", "message", "which mean", "first", "smallest", "largest", "last"], map(_curve, report.curves)
        )
    if len(report.distances):
        yield from _heading("How far each update was from the mean")
        yield "Of each exchange the update that was farthest from the mean change, and the one least aligned with it."
        yield ""
        yield from _table(
            [
                words.counted(report),
                "norm of the mean",
                "farthest",
                "distance",
                "least aligned",
                "cosine",
                "not measured",
            ],
            (
                [
                    words.round_number(each, report.about.numbered),
                    *(
                        ["", "", "", "", "", each.why_not]
                        if each.why_not
                        else [_norm(each.mean_norm), *words.farthest(each), ""]
                    ),
                ]
                for each in report.distances
            ),
            len(report.distances),
        )
    yield from _heading("Refused replies and errors")
    if not len(report.errors):
        yield "None: every answer was taken."
        return
    yield from _table(
        ["where", "who", "what", "reason"],
        (
            [
                each.round,
                named(each.name),
                f"{words.in_place_of(each)}, code {each.code}",
                each.reason or "no reason can be read",
            ]
            for each in report.errors
        ),
        len(report.errors),
    )


def _norm(value: float | None) -> str:
    return words.number(value)


def _curve(curve: Curve) -> list[str]:
    values = [value for _, value in curve.mean.points if value is not None] if curve.mean else []
    numbers = [values[0], min(values), max(values), values[-1]] if values else []
    return [
        named(curve.name),
        named(curve.what),
        curve.mean_words,
        *(map(words.number, numbers) if numbers else [""] * 4),
    ]


def _ids(report: RunReport) -> Iterator[str]:
    yield from _heading("Ids")
    yield from _table(["label", "what", "CID or key"], map(_id, report.ids))
    for name, table in (("Records of the chain", report.record_ids), ("Replies and contents", report.content_ids)):
        if len(table):
            yield from _heading(name, 3)
            yield from _table(["where", "what", "CID"], map(_id, table), len(table))


def _id(each: Id) -> list[str]:
    return [each.label, each.what, each.id]


def _heading(text: str, depth: int = 2) -> list[str]:
    return ["", f"{'#' * depth} {text}", ""]


def _listed(title: str, lines: Sequence[str]) -> Iterator[str]:
    if lines:
        yield from _heading(title)
        for line in lines:
            yield f"- {_text(line)}"


def _table(header: Sequence[str], rows: Iterable[Sequence[str]], count: int = 0) -> Iterator[str]:
    yield f"| {' | '.join(header)} |"
    yield f"|{'---|' * len(header)}"
    for row in islice(rows, ROWS):
        yield f"| {' | '.join(map(_text, row))} |"
    if count > ROWS:
        yield ""
        yield f"These are the first {ROWS} of {count}; the JSON form has all."


def _text(text: str) -> str:
    """Text in which nothing is Markdown or HTML, and nothing becomes a link."""
    shown = _MARKUP.sub(lambda found: f"\\{found[0]}", visible(text)).translate(_ENTITIES)
    return shown.replace("://", ":&#47;/").replace("www.", "www&#46;")

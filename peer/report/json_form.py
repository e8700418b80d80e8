"""A report as one JSON object, for programs. docs/report.md says what is in it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import fields
from typing import Final

from peer.report.facts import VERSION, RunReport, Table
from protocol.blocks.json_values import json_value

FORMAT: Final = "pollen-report"


def json_of(report: RunReport) -> Iterator[str]:
    """The object, a part at a time. It is plain ASCII: what a terminal would obey is escaped."""
    yield f'{{"format": {json.dumps(FORMAT)}, "version": {VERSION}'
    for field in fields(report):
        value = getattr(report, field.name)
        yield f',\n"{field.name}": '
        if isinstance(value, Table):
            yield from _list(value)
        else:
            yield _text(value)
    yield "}\n"


def _list(rows: Iterable[object]) -> Iterator[str]:
    separator = "["
    for row in rows:
        yield f"{separator}\n{_text(row)}"
        separator = ","
    yield "[]" if separator == "[" else "]"


def _text(value: object) -> str:
    return json.dumps(json_value(value), allow_nan=False)

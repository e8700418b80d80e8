"""A report as one JSON object, for programs. docs/report.md says what is in it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import fields
from typing import Any, Final

import msgspec

from peer.history.verdict import Finding
from peer.report.facts import VERSION, RunReport, Table
from protocol.blocks.cid import CID

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
    return json.dumps(msgspec.to_builtins(value, enc_hook=_plain, str_keys=True), allow_nan=False)


def _plain(value: Any) -> object:
    match value:
        case CID():
            return str(value)
        case Finding():
            return {"height": value.height, "cid": value.cid, "rule": value.rule, "message": value.message}
    raise TypeError(f"a {type(value).__name__} is no part of a report")

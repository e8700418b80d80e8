"""Metrics as CSV, and as JSON."""

from __future__ import annotations

import csv
import io
from typing import Any, Final

from peer.history.rounds import Exchange, exchange_value
from peer.metrics.points import Point, points_of
from protocol.blocks.cid import CID
from protocol.visible import visible

SCHEMA: Final = "pollen/metrics/1"

HEADER: Final = ("exchange", "round", "time", "type", "participant", "metric", "value")
"""The columns of the CSV. ``participant`` is empty for the mean over all who answered."""

_FORMULAS: Final = ("=", "+", "-", "@")
"""How a cell begins that a spreadsheet would run."""


def csv_header() -> str:
    """The first line."""
    return _line(HEADER)


def csv_lines(exchange: Exchange) -> list[str]:
    """A line for each number of an exchange."""
    return [_line(_cells(point)) for point in points_of(exchange)]


def _cells(point: Point) -> tuple[str, ...]:
    round_number = "" if point.round is None else str(point.round)
    texts = (point.type, point.participant, point.metric)
    return (str(point.exchange), round_number, repr(point.time), *map(_text, texts), repr(point.value))


def _text(foreign: str) -> str:
    """A name that others gave, which no spreadsheet takes for a formula."""
    shown = visible(foreign)
    return f"'{shown}" if shown.startswith(_FORMULAS) else shown


def _line(cells: tuple[str, ...]) -> str:
    line = io.StringIO()
    csv.writer(line, lineterminator="").writerow(cells)
    return line.getvalue()


def json_line(run: CID, exchange: Exchange) -> dict[str, Any]:
    """An exchange by itself, as ``--json --follow`` prints it."""
    return {"schema": SCHEMA, "run": str(run), "exchange": exchange_value(exchange)}


def json_whole(run: CID, head: CID, closed: bool, exchanges: list[Exchange]) -> dict[str, Any]:
    """The run, as ``--json`` prints it."""
    values = [exchange_value(exchange) for exchange in exchanges]
    return {"schema": SCHEMA, "run": str(run), "head": str(head), "closed": closed, "exchanges": values}

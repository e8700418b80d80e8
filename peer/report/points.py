"""The points of the curves, on disk: memory does not grow with rounds. Of many points the telling ones are drawn."""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final, Self

from peer.report.facts import MAX_LINES, Curve, Line

MAX_POINTS: Final = 400
"""Points of a line. Of more, the smallest and the largest value of each few rounds are drawn."""

_SCHEMA = """
CREATE TABLE points (curve INTEGER NOT NULL, name TEXT NOT NULL, number INTEGER NOT NULL, x INTEGER NOT NULL, y REAL);
CREATE TABLE rows (number INTEGER PRIMARY KEY, text TEXT NOT NULL);
"""
_INDEX = "CREATE INDEX IF NOT EXISTS by_curve ON points (curve, name, number)"

_MEAN: Final = ""
"""Whose the points of a mean are: no member has this name."""

Point = tuple[int, float | None]


@dataclass(slots=True)
class _Drawn:
    """A curve whose points are here."""

    id: int
    what: str
    name: str
    mean_words: set[str] = field(default_factory=set)
    not_finite: int = 0
    lists: int = 0


class Points:
    """A database in a temporary file that goes away with the process."""

    def __init__(self, most: int) -> None:
        """``most`` is how many curves there may be; of others no point is kept."""
        self._most = most
        self._curves: dict[tuple[str, str], _Drawn] = {}
        self.left_out: set[str] = set()
        """Names of quantities that found no room, as far as they are counted."""
        self._database = sqlite3.connect("", isolation_level=None, check_same_thread=False)
        self._database.executescript(_SCHEMA)
        self._database.execute("BEGIN")

    def close(self) -> None:
        """Forget everything."""
        self._database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def put(self, what: str, name: str, client: str, at: tuple[int, int], value: object) -> None:
        """A client's value; ``at`` is the number of the exchange, and the round that it is drawn at."""
        curve = self._curve(what, name)
        if curve is None:
            return
        if isinstance(value, list):
            curve.lists += 1
            return
        self._put(curve, client, at, value)

    def put_mean(self, what: str, name: str, words: str, at: tuple[int, int], value: object) -> None:
        """The mean of the clients' values; ``words`` say which mean."""
        curve = self._curve(what, name)
        if curve is not None:
            curve.mean_words.add(words)
            self._put(curve, _MEAN, at, value)

    def put_row(self, number: int, text: str) -> None:
        """Keep a line of text."""
        self._database.execute("INSERT INTO rows VALUES (?, ?)", (number, text))

    def rows(self) -> Iterator[str]:
        """The lines, by number."""
        return (str(text) for (text,) in self._database.execute("SELECT text FROM rows ORDER BY number"))

    def row_count(self) -> int:
        """How many lines there are."""
        return int(self._database.execute("SELECT count(*) FROM rows").fetchone()[0])

    def curves(self) -> tuple[Curve, ...]:
        """The curves that have points, in the order in which their quantities came."""
        self._database.execute(_INDEX)
        made = (self._made(curve) for curve in self._curves.values())
        return tuple(curve for curve in made if curve is not None)

    def _curve(self, what: str, name: str) -> _Drawn | None:
        found = self._curves.get((what, name))
        if found is None and len(self._curves) < self._most:
            found = self._curves[what, name] = _Drawn(len(self._curves), what, name)
        elif found is None and len(self.left_out) < _COUNTED:
            self.left_out.add(f"{what} {name}")
        return found

    def _put(self, curve: _Drawn, name: str, at: tuple[int, int], value: object) -> None:
        number = _finite(value)
        curve.not_finite += number is None
        self._database.execute("INSERT INTO points VALUES (?, ?, ?, ?, ?)", (curve.id, name, *at, number))

    def _made(self, curve: _Drawn) -> Curve | None:
        names = self._names(curve)
        mean = Line("mean", _thinned(self._line(curve, _MEAN)))
        if not names and not mean.points:
            return None
        few = len(names) <= MAX_LINES
        lines = tuple(Line(name, _thinned(self._line(curve, name))) for name in names) if few else ()
        band = () if few else tuple(_thinned_band(self._band(curve)))
        return Curve(
            what=curve.what,
            name=curve.name,
            mean=mean if mean.points else None,
            mean_words=" or ".join(sorted(curve.mean_words)),
            clients=lines,
            band=band,
            count=len(names),
            notes=tuple(self._notes(curve, names)),
            last=_last(mean) if mean.points else None,
        )

    def _notes(self, curve: _Drawn, names: list[str]) -> Iterator[str]:
        if self._longest(curve) > MAX_POINTS:
            yield "of each few rounds, only the smallest and the largest value of a line are drawn"
        if len(names) > MAX_LINES:
            yield f"the band goes from the smallest to the largest value of {len(names)} clients"
        if curve.not_finite:
            yield f"{curve.not_finite} values are not finite numbers, and leave gaps"
        if curve.lists:
            yield f"{curve.lists} values are lists, and are not drawn"

    def _names(self, curve: _Drawn) -> list[str]:
        query = "SELECT name, min(rowid) AS first FROM points WHERE curve = ? AND name != ? GROUP BY name ORDER BY name"
        return [str(name) for name, _ in self._database.execute(query, (curve.id, _MEAN))]

    def _line(self, curve: _Drawn, name: str) -> Iterator[Point]:
        query = "SELECT x, y FROM points WHERE curve = ? AND name = ? ORDER BY number"
        yield from self._database.execute(query, (curve.id, name))

    def _band(self, curve: _Drawn) -> Iterator[tuple[int, float, float]]:
        query = (
            "SELECT x, min(y), max(y) FROM points WHERE curve = ? AND name != ? AND y IS NOT NULL GROUP BY x ORDER BY x"
        )
        yield from self._database.execute(query, (curve.id, _MEAN))

    def _longest(self, curve: _Drawn) -> int:
        query = "SELECT max(count) FROM (SELECT count(*) AS count FROM points WHERE curve = ? GROUP BY name)"
        return int(self._database.execute(query, (curve.id,)).fetchone()[0] or 0)


_COUNTED: Final = 10_000
"""How many quantities that found no room are counted."""


def _finite(value: object) -> float | None:
    if not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def _last(line: Line) -> float | None:
    return line.points[-1][1] if line.points else None


def _thinned(points: Iterator[Point]) -> tuple[Point, ...]:
    """At most `MAX_POINTS`: each time there are twice as many, of each four neighbours the extremes stay."""
    kept: list[Point] = []
    size, waiting = 2, list[Point]()
    for point in points:
        waiting.append(point)
        if len(waiting) < size:
            continue
        kept += _extremes(waiting)
        waiting = []
        if len(kept) >= 2 * MAX_POINTS:
            kept = [each for at in range(0, len(kept), 4) for each in _extremes(kept[at : at + 4])]
            size *= 2
    return tuple(_halved(kept + (waiting if size == 2 else _extremes(waiting))))


def _halved(points: list[Point]) -> list[Point]:
    if len(points) <= MAX_POINTS:
        return points
    return _halved([each for at in range(0, len(points), 4) for each in _extremes(points[at : at + 4])])


def _extremes(points: list[Point]) -> list[Point]:
    """The smallest and the largest of a few points, in order; a gap stays one."""
    if len(points) <= 2:
        return points
    numbers = [each for each in points if each[1] is not None]
    if not numbers:
        return points[:1]
    low, high = min(numbers, key=_value), max(numbers, key=_value)
    return [each for each in points if each is low or each is high][:2]


def _value(point: Point) -> float:
    assert point[1] is not None  # gaps are left out
    return point[1]


def _thinned_band(band: Iterator[tuple[int, float, float]]) -> list[tuple[int, float, float]]:
    kept = list[tuple[int, float, float]]()
    size, waiting = 1, list[tuple[int, float, float]]()
    for each in band:
        waiting.append(each)
        if len(waiting) == size:
            kept.append(_joined(waiting))
            waiting = []
        if len(kept) == 2 * MAX_POINTS:
            kept = [_joined(kept[at : at + 2]) for at in range(0, len(kept), 2)]
            size *= 2
    return kept + ([_joined(waiting)] if waiting else [])


def _joined(band: list[tuple[int, float, float]]) -> tuple[int, float, float]:
    return band[0][0], min(low for _, low, _ in band), max(high for _, _, high in band)

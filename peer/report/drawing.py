"""Curves as SVG, for a page that is light or dark, on a screen or on paper.

matplotlib is imported here alone, and only once something is drawn. No text of others is in a drawing: the page names
what is drawn beside it. So nothing can be taken for matplotlib's markup, and a name never changes a drawing's size.
"""

from __future__ import annotations

import io
import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from peer.report.facts import MAX_LINES, Curve, Line

if TYPE_CHECKING:
    from matplotlib.axes import Axes

WIDTH, HEIGHT = 5.0, 2.5
"""Inches. The page scales a drawing to its column."""

MARKED: Final = 30
"""Points of a line that are still marked one by one."""

MARKS: Final = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "*")
"""One for each client, as matplotlib names them, so that lines can be told apart without colours."""

_INK, _GRID, _MEAN = "#010203", "#010204", "#010205"
_LINES: Final = tuple(f"#0103{number:02x}" for number in range(MAX_LINES))
"""Colours that stand for the page's own: a style sheet knows whether it is dark, and a drawing does not."""

_VARIABLES: Final = {
    _INK: "var(--ink)",
    _GRID: "var(--grid)",
    _MEAN: "var(--mean)",
    **{colour: f"var(--c{number})" for number, colour in enumerate(_LINES)},
}

_STYLE: Final = {
    "svg.fonttype": "none",  # text is text: to be read aloud, found and copied
    "svg.hashsalt": "pollen",  # the same curve has the same names in it each time
    "font.size": 9,
    "axes.edgecolor": _GRID,
    "axes.labelcolor": _INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.axisbelow": True,
    "axes.formatter.useoffset": False,
    "grid.color": _GRID,
    "grid.linewidth": 0.6,
    "text.color": _INK,
    "xtick.color": _GRID,
    "ytick.color": _GRID,
    "xtick.labelcolor": _INK,
    "ytick.labelcolor": _INK,
    "lines.linewidth": 1.2,
    "lines.markersize": 3.5,
    "text.usetex": False,
    "text.parse_math": False,
}


@dataclass(frozen=True, slots=True)
class Drawing:
    """What is in an ``svg`` element."""

    box: str
    """Its ``viewBox``."""
    shapes: str


class Pen:
    """Draws one curve after another."""

    def __init__(self) -> None:
        self._number = itertools.count(1)

    def draw(self, curve: Curve, x: str, names: Sequence[str]) -> Drawing:
        """``x`` says what is counted from left to right, in our words; ``names`` are all clients of the report, so that
        one has the same colour in each curve."""
        import matplotlib
        from matplotlib.figure import Figure
        from matplotlib.ticker import MaxNLocator

        with matplotlib.rc_context():
            matplotlib.rcdefaults()  # whatever the owner of this machine likes
            matplotlib.rcParams.update(_STYLE)  # type: ignore[arg-type]  # its type lists each name
            figure = Figure(figsize=(WIDTH, HEIGHT), layout="constrained")
            axes = figure.add_subplot()
            self._lines(axes, curve, names)
            axes.set_xlabel(x)
            axes.xaxis.set_major_locator(MaxNLocator("auto", integer=True))
            axes.margins(x=0.02)
            file = io.StringIO()
            nothing = {"Date": None, "Creator": None, "Format": None, "Type": None}
            figure.savefig(file, format="svg", transparent=True, metadata=nothing)
        return _inline(file.getvalue(), f"f{next(self._number)}-")

    def _lines(self, axes: Axes, curve: Curve, names: Sequence[str]) -> None:
        if curve.band:
            rounds, low, high = zip(*curve.band, strict=True)
            axes.fill_between(rounds, low, high, color=_LINES[0], alpha=0.25, linewidth=0)
        for line in curve.clients:
            at = names.index(line.name) % MAX_LINES if line.name in names else 0
            _draw_line(axes, line, colour=_LINES[at], mark=MARKS[at], width=1.2)
        if curve.mean is not None:
            _draw_line(axes, curve.mean, colour=_MEAN, mark="", width=2.4)


def _draw_line(axes: Axes, line: Line, *, colour: str, mark: str, width: float) -> None:
    rounds = [at for at, _ in line.points]
    values = [float("nan") if value is None else value for _, value in line.points]
    alone = len(values) == 1 and not mark
    every = -(-len(values) // MARKED)
    axes.plot(rounds, values, color=colour, marker="o" if alone else mark, markevery=every, linewidth=width)


_BOX: Final = re.compile(r'viewBox="([^"]*)"')
_ID: Final = re.compile(r' id="([^"]*)"')
_REFERENCE: Final = re.compile(r'(url\(#|href="#)([^)"]*)')
_FONT: Final = re.compile(r"font-family: [^;\"]*; ")
_SHEET: Final = re.compile(r"<style.*?</style>", re.DOTALL)


def _inline(document: str, prefix: str) -> Drawing:
    """A drawing to stand among others in a page: with names of its own, in the page's colours and letters."""
    head, _, rest = document[document.index("<svg") :].partition(">")
    box = _BOX.search(head)
    assert box is not None  # matplotlib writes one
    rest = _FONT.sub("", _SHEET.sub("", rest.rpartition("</svg>")[0]))
    used = {name for _, name in _REFERENCE.findall(rest)}
    rest = _ID.sub(lambda found: f' id="{prefix}{found[1]}"' if found[1] in used else "", rest)
    rest = _REFERENCE.sub(lambda found: f"{found[1]}{prefix}{found[2]}", rest)
    rest = rest.replace("xlink:href", "href")
    for colour, variable in _VARIABLES.items():
        rest = rest.replace(colour, variable)
    return Drawing(box[1], re.sub(r"\s*\n\s*", "\n", rest).strip())

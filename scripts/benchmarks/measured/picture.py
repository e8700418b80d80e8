"""What systems took: times, which differ by orders of magnitude, as points on a logarithmic scale; memory as bars."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from measured import Json
from measured.tables import case_of, largest, number

_Value = Callable[[Json], float]

_PANELS: tuple[tuple[str, bool, _Value], ...] = (
    ("seconds a round (logarithmic)", True, lambda result: number(result, "median_seconds")),
    ("processor seconds a round (logarithmic)", True, lambda result: number(result, "processor_seconds")),
    (
        "largest process without mapped files, MB",
        False,
        lambda result: max(largest(result["peak_mb_without_mapped_files"], kind) for kind in ("server", "client")),
    ),
)


def draw(results: Sequence[Json], file: Path) -> None:
    """Seconds, processor seconds and the largest process of each case and system.

    A bar is as long as what it says, which a logarithmic scale has no beginning for. So there a point says it.
    """
    import matplotlib  # only a picture needs it, and it imports slowly

    matplotlib.use("agg")
    import matplotlib.pyplot as plt
    from matplotlib.ticker import NullFormatter, StrMethodFormatter

    cases = list(dict.fromkeys(map(case_of, results)))
    systems = list(dict.fromkeys(str(result["system"]) for result in results))
    figure, axes = plt.subplots(1, len(_PANELS), figsize=(5 * len(_PANELS), 2 + 0.25 * len(cases) * len(systems)))
    height = 0.8 / len(systems)
    for axis, (title, logarithmic, value) in zip(axes, _PANELS, strict=True):
        for place, system in enumerate(systems):
            mine = [result for result in results if result["system"] == system]
            places = [cases.index(case_of(result)) + place * height for result in mine]
            values = [value(result) for result in mine]
            if logarithmic:
                axis.plot(values, places, "o", label=system)
            else:
                axis.barh(places, values, height, label=system)
            for at, each in zip(places, values, strict=True):
                axis.annotate(
                    _short(each), (each, at), xytext=(6, 0), textcoords="offset points", fontsize=7, va="center"
                )
        axis.set_title(title)
        if logarithmic:
            axis.set_xscale("log")
            axis.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
            axis.xaxis.set_minor_formatter(NullFormatter())
            axis.grid(axis="x", alpha=0.3)
        axis.set_yticks([at + 0.4 - height / 2 for at in range(len(cases))], cases)
        axis.set_ylim(len(cases) - 0.2, -height)  # the first case is on top
        axis.margins(x=0.15)
    figure.tight_layout(rect=(0.0, 0.08, 1.0, 1.0))  # below is what the colours mean
    figure.legend(*axes[0].get_legend_handles_labels(), loc="lower center", ncols=len(systems), fontsize=8)
    figure.savefig(file)
    plt.close(figure)


def _short(value: float) -> str:
    """With three digits that count."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"

"""What systems took, as bars."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from measured import Json
from measured.tables import case_of, largest, number

_Value = Callable[[Json], float]

_PANELS: tuple[tuple[str, _Value], ...] = (
    ("seconds a round", lambda result: number(result, "median_seconds")),
    ("processor seconds a round", lambda result: number(result, "processor_seconds")),
    (
        "largest process without mapped files, MB",
        lambda result: max(largest(result["peak_mb_without_mapped_files"], kind) for kind in ("server", "client")),
    ),
)


def draw(results: Sequence[Json], file: Path) -> None:
    """Seconds, processor seconds and the largest process of each case and system, as bars on a logarithmic scale."""
    import matplotlib  # only a picture needs it, and it imports slowly

    matplotlib.use("agg")
    import matplotlib.pyplot as plt
    from matplotlib.ticker import NullFormatter, StrMethodFormatter

    cases = list(dict.fromkeys(map(case_of, results)))
    systems = list(dict.fromkeys(str(result["system"]) for result in results))
    figure, axes = plt.subplots(1, len(_PANELS), figsize=(5 * len(_PANELS), 2 + 0.25 * len(cases) * len(systems)))
    height = 0.8 / len(systems)
    for axis, (title, value) in zip(axes, _PANELS, strict=True):
        for place, system in enumerate(systems):
            mine = [result for result in results if result["system"] == system]
            places = [cases.index(case_of(result)) + place * height for result in mine]
            bars = axis.barh(places, [value(result) for result in mine], height, label=system)
            axis.bar_label(bars, fmt=_short, fontsize=7, padding=2)
        axis.set_title(title)
        axis.set_xscale("log")
        axis.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        axis.xaxis.set_minor_formatter(NullFormatter())
        axis.set_yticks([at + 0.4 - height / 2 for at in range(len(cases))], cases)
        axis.invert_yaxis()
        axis.margins(x=0.15)
    figure.tight_layout(rect=(0.0, 0.08, 1.0, 1.0))  # below is what the colours mean
    figure.legend(*axes[0].get_legend_handles_labels(), loc="lower center", ncols=len(systems), fontsize=8)
    figure.savefig(file)
    plt.close(figure)


def _short(value: float) -> str:
    """With three digits that count."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"

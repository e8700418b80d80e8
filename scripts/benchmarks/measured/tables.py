"""Results as tables in Markdown, whose columns are aligned so that they can be read in a terminal, too."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from measured import Json

_NONE = "-"


def flower_table(results: Sequence[Json]) -> str:
    """Of ``scripts/bench flower``: a row for each case and system. The last column tells how many times as long a
    round takes ``flower``."""
    slow = {case_of(result): number(result, "median_seconds") for result in results if result["system"] == "flower"}

    def times(result: Json) -> str:
        case = case_of(result)
        return _NONE if case not in slow else short(slow[case] / number(result, "median_seconds"))

    return _table(
        results,
        [
            ("model, clients", case_of),
            ("system", lambda result: str(result["system"])),
            ("s a round", lambda result: short(number(result, "median_seconds"))),
            ("fastest", lambda result: short(number(result, "fastest_seconds"))),
            ("processor s", lambda result: short(number(result, "processor_seconds"))),
            (
                "server's largest, MB",
                lambda result: f"{largest(result['peak_mb_without_mapped_files'], 'server'):,.0f}",
            ),
            (
                "client's largest, MB",
                lambda result: f"{largest(result['peak_mb_without_mapped_files'], 'client'):,.0f}",
            ),
            ("server sends, MB", lambda result: _sent(result["bytes_sent_per_round"], "server")),
            ("client sends, MB", lambda result: _sent(result["bytes_sent_per_round"], "client")),
            ("times as fast as Flower", times),
        ],
    )


def exchange_table(results: Sequence[Json]) -> str:
    """Of ``scripts/bench exchange``."""

    def used(result: Json, whose: str) -> str:
        spent = result["processor_seconds_per_exchange"]
        assert isinstance(spent, dict)
        return short(float(spent[whose]))

    return _table(
        results,
        [
            ("engine", lambda result: f"`{result['engine']}`{', encrypted' if result['encrypted'] else ''}"),
            ("model, clients", case_of),
            ("median, s", lambda result: short(number(result, "median_seconds"))),
            ("fastest", lambda result: short(number(result, "fastest_seconds"))),
            ("95 % within", lambda result: short(number(result, "p95_seconds"))),
            ("processor s", lambda result: used(result, "all")),
            ("apps", lambda result: used(result, "apps")),
            ("peers", lambda result: used(result, "peers")),
            ("nodes", lambda result: used(result, "nodes")),
        ],
    )


def memory_table(results: Sequence[Json]) -> str:
    """Of ``scripts/bench memory``."""
    return _table(
        results,
        [
            ("engine", lambda result: f"`{result['engine']}`{', encrypted' if result['encrypted'] else ''}"),
            ("strategy", lambda result: str(result["strategy"])),
            ("model, MB", lambda result: f"{number(result, 'megabytes'):,g}"),
            ("in arrays", lambda result: str(result["arrays"])),
            ("clients", lambda result: str(result["clients"])),
            ("rounds", lambda result: str(result["rounds"])),
            ("server, models", lambda result: f"{number(result, 'server_models'):.1f}"),
            ("server, MB", lambda result: f"{number(result, 'server_mb'):,.0f}"),
            ("client, models", lambda result: f"{number(result, 'client_models'):.1f}"),
            ("client, MB", lambda result: f"{number(result, 'client_mb'):,.0f}"),
            ("disk, MB", lambda result: f"{number(result, 'disk_mb'):,.0f}"),
            ("s", lambda result: f"{number(result, 'seconds'):,.0f}"),
        ],
    )


def case_of(result: Json) -> str:
    """What was run, for people."""
    return f"{number(result, 'megabytes'):g} MB, {result['clients']} clients"


def number(result: Json, name: str) -> float:
    """A field that is a number."""
    value = result[name]
    assert isinstance(value, int | float)
    return float(value)


def largest(peaks: object, kind: str) -> float:
    """The most of one kind of node, ``server`` or ``client``, in MB."""
    assert isinstance(peaks, dict)
    return max((float(peak) for peak in peaks.get(kind, {}).values()), default=0.0)


def short(value: float) -> str:
    """With three digits at most, and three behind the point below 0.1."""
    if value >= 10:
        return f"{value:,.0f}" if value >= 100 else f"{value:.1f}"
    return f"{value:.2f}" if value >= 0.1 else f"{value:.3f}"


def _sent(sent: object, kind: str) -> str:
    """MB that the node of this kind sent that sent most."""
    if sent is None:
        return _NONE
    assert isinstance(sent, dict)
    return short(max((count for node, count in sent.items() if node.startswith(kind)), default=0) / 1e6)


def _table(results: Sequence[Json], columns: Sequence[tuple[str, Callable[[Json], str]]]) -> str:
    rows = [[title for title, _ in columns], *([cell(result) for _, cell in columns] for result in results)]
    widths = [max(len(row[at]) for row in rows) for at in range(len(columns))]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |" for row in rows
    ]
    return "\n".join([lines[0], "|" + "|".join("-" * (width + 2) for width in widths) + "|", *lines[1:]])

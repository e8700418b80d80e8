"""Makes the tables of docs/performance.md from files that other benchmarks have written, so that nothing is copied by
hand: the JSON that ``exchange`` and ``memory`` print, and the results of ``flower``.

The runs of several files of ``flower`` are taken together, if they are of one machine. ``--picture FILE`` draws them.
"""

from __future__ import annotations

import argparse
import json
import sys
from functools import reduce
from pathlib import Path

from measured import Json, ended_by
from measured.amounts import picture
from measured.comparison import Comparison
from measured.picture import draw
from measured.tables import exchange_table, flower_table, memory_table

from peer.base.errors import PeerError

_TABLES = {"exchange": exchange_table, "memory": memory_table}
_FILES = (
    "name what scripts/bench flower --results FILE has written, scripts/bench exchange > FILE, or scripts/bench "
    "memory > FILE"
)


def main() -> int:
    """Print Markdown."""
    parser = argparse.ArgumentParser(prog="scripts/bench table", description="Make tables of results.")
    parser.add_argument("files", type=Path, nargs="+", help="what benchmarks have written")
    parser.add_argument("--picture", type=picture, help="draw the results of flower: PNG, SVG or PDF by its name")
    options = parser.parse_args()
    comparisons = []
    others: dict[str, list[Json]] = {}
    for file in options.files:
        match _read(file):
            case {"benchmark": "flower"}:
                comparisons.append(Comparison.read(file))
            case {"benchmark": str(name), "results": list(results)} if name in _TABLES:
                others.setdefault(name, []).extend(results)
            case _:
                raise PeerError(f"{file} is of no benchmark that has a table", fix=_FILES)
    tables = [_TABLES[name](results) for name, results in others.items()]
    if comparisons:
        compared = reduce(Comparison.joined, comparisons)
        compared.raise_difference()
        tables.insert(0, flower_table(compared.results))
        if options.picture is not None:
            draw(compared.results, options.picture)
    print("\n\n".join(tables))
    return 0


def _read(file: Path) -> object:
    try:
        told: object = json.loads(file.read_bytes())
    except (OSError, ValueError) as error:
        raise PeerError(f"{file} has no results: {error}", fix=_FILES) from error
    return told


if __name__ == "__main__":
    sys.exit(ended_by(main))

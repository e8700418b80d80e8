"""Tries as many simulated runs as one likes, in pieces:

``.venv/bin/python tests/simulation/sim_seeds.py --until 20000`` tries each seed that was not tried yet, and writes down
how far it came. A failure prints its seed and what happened last; ``--seed N`` repeats it exactly.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Final

HERE: Final = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE / "world"), str(HERE / "trouble"), str(HERE.parent), str(HERE.parents[1])]

EACH: Final = 20
"""Seeds after which it is written down how far it came."""


@dataclass
class Tried:
    """What was tried so far."""

    upto: int = 0
    """Seeds below it were."""
    failed: list[int] = field(default_factory=list)
    seconds: float = 0.0
    """Of processor time."""

    @classmethod
    def at(cls, file: Path) -> Tried:
        """What is written in ``file``."""
        return cls(**json.loads(file.read_text())) if file.exists() else cls()

    def keep(self, file: Path) -> None:
        """Write it down."""
        new = file.with_suffix(".new")
        new.write_text(json.dumps(asdict(self)))
        new.replace(file)

    def in_words(self) -> str:
        """For people."""
        each = self.seconds / max(1, self.upto)
        return f"{self.upto:,} seeds, {self.seconds:,.0f} s of processor time, {each:.2f} s each; failed: {self.failed}"


def try_seeds(run: Callable[[int], None], until: int, file: Path) -> Tried:
    """Try all that were not tried."""
    tried = Tried.at(file)
    while tried.upto < until:
        began = time.process_time()
        for seed in range(tried.upto, min(until, tried.upto + EACH)):
            try:
                run(seed)
            except AssertionError as error:
                tried.failed.append(seed)
                sys.stdout.write(f"seed {seed}: {error}\n")
            tried.upto = seed + 1
        tried.seconds += time.process_time() - began
        tried.keep(file)
        sys.stdout.write(f"{tried.in_words()}\n")
        sys.stdout.flush()
    return tried


def main() -> int:
    """Try simulated runs, each of a seed of its own."""
    from sim_drawn import any_run

    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--until", type=int, default=20_000, help="the first seed that is not tried (20000)")
    parser.add_argument(
        "--keep", type=Path, default=Path("simulated-seeds.json"), help="the file that says what was tried"
    )
    parser.add_argument("--seed", type=int, help="try this one alone")
    chosen = parser.parse_args()
    if chosen.seed is not None:
        any_run(chosen.seed)
        return 0
    return 1 if try_seeds(any_run, chosen.until, chosen.keep).failed else 0


if __name__ == "__main__":
    sys.exit(main())

"""A target, and feeding it inputs; ``scripts/fuzz`` does it for long."""

from __future__ import annotations

import argparse
import resource
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from itertools import count, islice
from pathlib import Path
from typing import Final

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parent.parent / "protocol")]

import corpus  # noqa: E402  # the path is set just above
from mutations import Mutator  # noqa: E402

Target = Callable[[bytes], None]
"""Gives a decoder bytes. It catches the errors that the decoder documents, so it must raise none."""

MEMORY: Final = 4 << 30
"""Bytes that a long run may take: an input that expands ends as a MemoryError, not as a slow machine."""


class Broken(AssertionError):
    """An input that a target did not take as it should; ``str`` says how to try it again."""


def inputs(name: str, seed: int) -> Iterator[bytes]:
    """The saved inputs of a target, then ever more that are made from them."""
    known = corpus.saved(name)
    yield from known
    mutator = Mutator(seed, known)
    while True:
        yield mutator.next()


def feed(name: str, target: Target, seed: int, times: int) -> None:
    """Give a target so many inputs.

    Raises:
        Broken: if one breaks it.
    """
    for at, data in enumerate(islice(inputs(name, seed), times)):
        try:
            target(data)
        except Exception as error:
            raise Broken(f"{name}, seed {seed}, input {at}: {data[:2000].hex()}") from error


def feed_for(name: str, target: Target, seed: int, seconds: float) -> int:
    """Give a target inputs for so long; those that break it are kept, and counted."""
    broken: set[str] = set()
    until = time.monotonic() + seconds
    for data in inputs(name, seed):
        if time.monotonic() >= until:
            break
        try:
            target(data)
        except Exception as error:  # noqa: BLE001  # whatever it is, it is shown
            where = traceback.extract_tb(error.__traceback__)[-1]
            place = f"{type(error).__name__} at {where.filename}:{where.lineno}"
            if place not in broken:  # one input for each way of breaking
                broken.add(place)
                traceback.print_exc()
                _say(f"{name}: {place}; saved as {corpus.save_crash(name, data)}")
    return len(broken)


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def main(arguments: Sequence[str]) -> int:
    from targets import TARGETS  # which imports Flower

    parser = argparse.ArgumentParser(prog="scripts/fuzz", description="Feed decoders bytes that are almost right.")
    parser.add_argument("target", nargs="?", choices=sorted(TARGETS), help="one target; all if none is named")
    parser.add_argument("--seconds", type=float, default=20.0, help="for each target (default 20)")
    parser.add_argument("--seed", type=int, help="the first seed (default: the clock's)")
    chosen = parser.parse_args(arguments)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    seeds = count(chosen.seed if chosen.seed is not None else int(time.time()))
    broken = 0
    for name in [chosen.target] if chosen.target else TARGETS:
        seed = next(seeds)
        found = feed_for(name, TARGETS[name], seed, chosen.seconds)
        _say(f"{name}: seed {seed}, {found or 'nothing'} broken")
        broken += found
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

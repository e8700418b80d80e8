"""The numbers that people give a benchmark: of nothing there is nothing to measure."""

from __future__ import annotations

import argparse
import contextlib
import math


def one_or_more(text: str) -> int:
    """A whole number from 1 on.

    Raises:
        ArgumentTypeError: if it is none.
    """
    with contextlib.suppress(ValueError):
        if (number := int(text)) >= 1:
            return number
    raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1 on")


def positive(text: str) -> float:
    """A finite number above 0.

    Raises:
        ArgumentTypeError: if it is none.
    """
    with contextlib.suppress(ValueError):
        if 0 < (number := float(text)) < math.inf:
            return number
    raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0")

"""What people give a benchmark, refused before it measures: numbers of nothing, and files that cannot be written."""

from __future__ import annotations

import argparse
import contextlib
import math
from pathlib import Path
from typing import Final


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


def new_file(text: str) -> Path:
    """A file in a folder that is there: hours of measuring are to go into it.

    Raises:
        ArgumentTypeError: if there is no such folder.
    """
    file = Path(text)
    if not file.parent.is_dir():
        raise argparse.ArgumentTypeError(f"there is no folder {file.parent}: mkdir -p it, or name another file")
    return file


_PICTURES: Final = ".png", ".svg", ".pdf"


def picture(text: str) -> Path:
    """A file for a picture, as `new_file`, of a kind that can be drawn.

    Raises:
        ArgumentTypeError: if it is of another kind, or there is no such folder.
    """
    if Path(text).suffix not in _PICTURES:
        raise argparse.ArgumentTypeError(f"{text!r} ends in none of {', '.join(_PICTURES)}")
    return new_file(text)

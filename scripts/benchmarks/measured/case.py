"""What is measured: a size of the model, and a number of clients."""

from __future__ import annotations

import argparse
import contextlib
import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Case:
    """A size of the model, and a number of clients."""

    megabytes: float
    clients: int

    @classmethod
    def parse(cls, text: str) -> Case:
        """``100x2``: 100 MB with 2 clients.

        Raises:
            ArgumentTypeError: if it is not written so, or has no model or no clients.
        """
        megabytes, _, clients = text.partition("x")
        with contextlib.suppress(ValueError):
            case = cls(float(megabytes), int(clients))
            if 0 < case.megabytes < math.inf and case.clients >= 1:
                return case
        raise argparse.ArgumentTypeError(f"{text!r} is not MBxCLIENTS, as 100x2 is: 100 MB with 2 clients")

    def __str__(self) -> str:
        return f"{self.megabytes:g}x{self.clients}"

"""What is measured: a size of the model, and a number of clients."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Case:
    """A size of the model, and a number of clients."""

    megabytes: float
    clients: int

    @classmethod
    def parse(cls, text: str) -> Case:
        """``100x2``: 100 MB with 2 clients. Raises ValueError."""
        megabytes, _, clients = text.partition("x")
        case = cls(float(megabytes), int(clients))
        if case.megabytes <= 0 or case.clients < 1:
            raise ValueError(f"{text} has no model or no clients")
        return case

    def __str__(self) -> str:
        return f"{self.megabytes:g}x{self.clients}"

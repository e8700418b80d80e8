"""How often the exchanges of a run did not wait for a client, for people."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Lateness:
    """Of one client, since the server's peer started."""

    left_out: int = 0
    """Its messages that were left out."""
    in_a_row: int = 0
    """How many of the newest that it was sent: a client that is left out again and again adds nothing to the model."""
    late: int = 0
    """Its replies that came after all."""


NEVER_LATE: Final = Lateness()

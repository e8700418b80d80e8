"""What members claim to have, until it is looked into: nobody's claims stand in the way of anybody else's.

A claim costs its author one small announcement and us a fetch, which may take its whole time-out. So few claims of one
author are looked into at a time, and after one that came to nothing the author's next has to wait, longer each time.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

FIRST_DOUBT: Final = 0.25
"""Seconds until the next claim of an author is looked into, after one that came to nothing; each time twice as long."""


@dataclass(slots=True)
class _Author:
    open: int = 0
    doubt: float = FIRST_DOUBT
    until: float = 0.0


class UncheckedClaims:
    """The claims of all members, about one kind of thing. Memory is bounded by the number of authors."""

    def __init__(self, side_by_side: int, deepest_doubt: float) -> None:
        """``side_by_side`` are looked into at a time; ``deepest_doubt`` is the longest wait, in seconds."""
        self._side_by_side = side_by_side
        self._deepest_doubt = deepest_doubt
        self._authors: dict[bytes, _Author] = {}

    def may_open(self, author: bytes, now: float) -> bool:
        """Whether a claim of ``author`` may be looked into now."""
        known = self._authors.get(author)
        return known is None or (known.open < self._side_by_side and now >= known.until)

    def open(self, author: bytes) -> None:
        """A claim of ``author`` is being looked into."""
        self._authors.setdefault(author, _Author()).open += 1

    def held(self, author: bytes) -> None:
        """It was true."""
        known = self._authors[author]
        known.open, known.doubt = known.open - 1, FIRST_DOUBT
        if not known.open:
            del self._authors[author]

    def failed(self, author: bytes, now: float) -> None:
        """It came to nothing, for whatever reason."""
        known = self._authors[author]
        known.open, known.until = known.open - 1, now + known.doubt
        known.doubt = min(2 * known.doubt, self._deepest_doubt)

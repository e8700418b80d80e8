"""What an audit makes of contents that are not here: each is *missing*, or *not kept by policy*.

By policy means that the run's plan, in its first record, lets it go. Which contents that are is known only at the end
of the chain. What the plan keeps is missing, whoever says what of it.
"""

from __future__ import annotations

from collections.abc import Container, Iterator
from dataclasses import dataclass, field
from itertools import groupby

from peer.history.scratch import Scratch
from peer.history.verdict import MISSING_BLOCK, Finding
from protocol.blocks.cid import CID
from protocol.keeping.droppable import Kind, RunSoFar, stays
from protocol.keeping.exchanges import LinkedExchanges
from protocol.keeping.plan import KeepPlan


@dataclass(slots=True)
class NotKept:
    """How much of a run is not here, and is not to be."""

    models: int = 0
    updates: int = 0
    first: int | None = None
    """The first exchange of which something is not kept."""
    last: int | None = None
    here: int = 0
    """How many of them the run's plan keeps, and this home dropped by its own."""
    exchanges: set[int] = field(default_factory=set)
    """Those whose updates are not all kept. Empty in a kept report."""

    @property
    def contents(self) -> int:
        """How many contents it is."""
        return self.models + self.updates

    def add(self, kind: Kind, number: int, *, here: bool) -> None:
        """Count a content, whose newest exchange has this number."""
        if kind is Kind.MODEL:
            self.models += 1
        else:
            self.updates += 1
        self.here += here
        self.first = number if self.first is None else min(self.first, number)
        self.last = number if self.last is None else max(self.last, number)

    def in_words(self, keep: str) -> str:
        """In a line. ``keep`` is the text of the run's plan."""
        counted = [f"{self.models} models"] * bool(self.models) + [f"{self.updates} updates"] * bool(self.updates)
        why = [f"the run's plan is {keep}"] * (self.here < self.contents)
        why += [f"{self.here} were dropped here, by this home's own plan"] * bool(self.here)
        span = f"exchange {self.first}" if self.first == self.last else f"exchanges {self.first} to {self.last}"
        return f"{' and '.join(counted)} of {span} ({'; '.join(why)})"

    def value(self) -> dict[str, object]:
        """As ``--json`` shows it."""
        return {
            "models": self.models,
            "updates": self.updates,
            "first_exchange": self.first,
            "last_exchange": self.last,
            "dropped_here": self.here,
        }


class Lacking:
    """The contents that are not whole here. What is noted is in the scratch."""

    def __init__(self, scratch: Scratch, dropped_here: Container[CID] = frozenset()) -> None:
        """``dropped_here`` are the contents that this home says it dropped by its own plan."""
        self._scratch = scratch
        self._dropped_here = dropped_here
        self.exchanges = LinkedExchanges()
        self.plan = KeepPlan()

    def note(self, content: CID, finding: Finding) -> None:
        """Note that a content is not whole, and what is to be said if it should be."""
        self._scratch.lack(content, finding.height or 0, finding.cid or content, finding.message)

    def uses(self, content: CID, kind: Kind | None, number: int) -> None:
        """Note where the chain links a content, if it is not whole."""
        if self._scratch.lacks(content):
            self._scratch.use(content, "" if kind is None else kind.value, number)

    def settle(self, run: RunSoFar, found: NotKept) -> Iterator[Finding]:
        """What is missing, in the order of the chain. What is not kept by policy is counted in ``found``."""
        for (content, height, block, what), group in groupby(self._scratch.lacking(), key=lambda row: row[:4]):
            uses = [(Kind(kind) if kind else None, number) for *_, kind, number in group]
            is_kept = any(
                kind is None or stays(kind, self.exchanges.at(number), self.plan, run) for kind, number in uses
            )
            kind, number = max(uses, key=lambda use: use[1])
            if is_kept and (kind is None or content not in self._dropped_here):
                yield Finding(height, block, MISSING_BLOCK, what)
                continue
            assert kind is not None  # what is of the run as a whole stays
            found.add(kind, number, here=is_kept)
            found.exchanges.update(number for kind, number in uses if kind is Kind.UPDATE)

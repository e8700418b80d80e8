"""Which training messages of a run had as many witnesses as it needs, as far as the acks show that are at hand.

Acks are beside the chain. One that is not at hand may be with somebody else, so that nobody can be convicted by it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from protocol.chain.chain import Chain, Step
from protocol.replies.checks_and_limits import is_update
from protocol.witnesses.needed import possible_witnesses

REMEMBERED: Final = 4_096
"""Dispatches without enough witnesses that are remembered; of the others it is only counted how many there are."""

Spans = Mapping[bytes, Iterable[tuple[int, int]]]
"""From where to where each member's own app did what is recorded, by its id; both heights are inside."""


@dataclass(slots=True)
class Unwitnessed:
    """A training dispatch that has too few witnesses."""

    height: int
    needed: int
    possible: frozenset[bytes]
    """The members that could be witnesses."""
    trained: list[bytes] = field(default_factory=list)
    """The clients whose updates to it were taken, by their ids."""

    def have(self, spans: Spans) -> int:
        """How many witnesses it has."""
        covering = (by for by, of in spans.items() if any(since <= self.height <= until for since, until in of))
        return len(self.possible.intersection(covering))


class WitnessedRounds:
    """Of one run, record by record. Its memory grows with the dispatches that lack witnesses, up to a bound."""

    def __init__(self) -> None:
        self.needed = 0
        """How many witnesses the newest training dispatch needs."""
        self._pending: dict[int, Unwitnessed] = {}
        self._passed = 0

    def take(self, step: Step, chain: Chain) -> None:
        """One more record of the run."""
        if any(is_update(message.type) for message in step.opened):
            self.needed = chain.witnesses_needed
            if self.needed:
                possible = possible_witnesses(chain.manifest, chain.by)
                self._pending[chain.height] = Unwitnessed(chain.height, self.needed, possible)
        for answer in step.answered:
            asked = self._pending.get(answer.message.height)
            if asked is not None and answer.reply is not None and is_update(answer.message.type):
                asked.trained.append(answer.reply.body.by)
        if len(self._pending) > REMEMBERED:
            self._passed += bool(self._pending.pop(next(iter(self._pending))).trained)

    def witnessed(self, spans: Spans) -> None:
        """Members have signed more of what they recomputed."""
        enough = [height for height, asked in self._pending.items() if asked.have(spans) >= asked.needed]
        for height in enough:
            del self._pending[height]

    def lacking(self) -> list[Unwitnessed]:
        """Those to which updates were taken although too few witnesses are known, the lowest first."""
        return [asked for asked in self._pending.values() if asked.trained]

    @property
    def count(self) -> int:
        """How many those are."""
        return self._passed + len(self.lacking())

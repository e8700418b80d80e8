"""The plan by which contents of a run stay or go, and its text, the same in options, records and output.

A plan reads ``models=last:4+best updates=last:2 drop-updates``. It says nothing of records, of the app, the seed, the
initial and the final model: these stay. `protocol.keeping.droppable` carries a plan out.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

MOST: Final = 10**9
"""The largest K of ``last:K``."""

LONGEST: Final = 100
"""Characters of a plan's text at most."""

DROP_UPDATES: Final = "drop-updates"
"""The word of a plan by which updates of an open run may go."""


class PlanError(ValueError):
    """A text that is no plan. The message says which part is wrong, and what it may be."""


@dataclass(frozen=True, slots=True)
class All:
    """Those of every exchange."""

    def __str__(self) -> str:
        return "all"


@dataclass(frozen=True, slots=True)
class Last:
    """Those of the last ``count`` exchanges. A round of FedAvg is two: it trains, then it evaluates."""

    count: int

    def __str__(self) -> str:
        return f"last:{self.count}"


@dataclass(frozen=True, slots=True)
class LastAndBest:
    """Those of the last ``count`` exchanges, and of the best one if one is marked."""

    count: int

    def __str__(self) -> str:
        return f"last:{self.count}+best"


@dataclass(frozen=True, slots=True)
class WhileRoom:
    """Those of every exchange as long as there is room. If room is needed, those of the last ``count`` exchanges and of
    the best one stay."""

    count: int

    def __str__(self) -> str:
        return f"room:{self.count}"


@dataclass(frozen=True, slots=True)
class UntilAudited:
    """Those of the exchanges that no auditor has confirmed yet."""

    def __str__(self) -> str:
        return "until-audited"


Models = All | Last | LastAndBest | WhileRoom
Updates = All | Last | UntilAudited


@dataclass(frozen=True, slots=True)
class KeepPlan:
    """Which contents of a run stay.

    ``models`` is what the server sent, ``updates`` what clients answered. An exchange that waits for answers, and the
    newest one, keep theirs while the run is open, whatever the plan.
    """

    models: Models = All()
    updates: Updates = All()
    drop_updates: bool = False
    """Whether contents may go while the run is open. Then it cannot be resumed, nor be replayed in full."""

    def __post_init__(self) -> None:
        """Raises:
        PlanError: if updates may go, and all stay.
        """
        if self.drop_updates and isinstance(self.updates, All):
            raise PlanError(f"{DROP_UPDATES} lets updates go, and updates=all keeps them: say updates=last:K")

    @property
    def text_if_any(self) -> str:
        """The text of a plan that lets something go; empty if everything stays."""
        return "" if self == KEEP_EVERYTHING else str(self)

    def __str__(self) -> str:
        """The one text of this plan. `parse_plan` reads it."""
        text = f"models={self.models} updates={self.updates}"
        return f"{text} {DROP_UPDATES}" if self.drop_updates else text


KEEP_EVERYTHING: Final = KeepPlan()

DROPPING: Final = KeepPlan(models=WhileRoom(4), updates=Last(1), drop_updates=True)
"""The plan of ``--drop-updates`` alone. Whoever gives up resuming a run for the disk's sake wants it to go on."""


def parse_plan(text: str) -> KeepPlan:
    """The plan in ``text``: words in any order, each once at most. What it leaves out stays, or is as in `DROPPING`.

    Raises:
        PlanError: if it is none.
    """
    if len(text) > LONGEST:
        raise PlanError(f"a plan has at most {LONGEST} characters, and this one has {len(text)}")
    if not text.split():
        raise PlanError("the plan is empty: models=all updates=all keeps everything")
    said: dict[str, str] = {}
    for word in text.split():
        name, _, value = word.partition("=")
        if name in said:
            raise PlanError(f"{name} is said twice")
        said[name] = value
        if name not in ("models", "updates") and word != DROP_UPDATES:
            raise PlanError(f"{word!r} is no part of a plan, which has models=..., updates=... and {DROP_UPDATES}")
    models, updates = said.get("models"), said.get("updates")
    default = DROPPING if DROP_UPDATES in said else KEEP_EVERYTHING
    return KeepPlan(
        default.models if models is None else _models(models),
        default.updates if updates is None else _updates(updates),
        default.drop_updates,
    )


_LAST: Final = re.compile(r"last:([0-9]{1,10})(\+best)?", re.ASCII)
_ROOM: Final = re.compile(r"room:([0-9]{1,10})", re.ASCII)


def _models(value: str) -> Models:
    if value == "all":
        return All()
    if match := _ROOM.fullmatch(value):
        return WhileRoom(_count(match[1], "room"))
    match = _LAST.fullmatch(value)
    if match is None:
        raise PlanError(f"models={value} is none of models=all, models=last:K, models=last:K+best and models=room:K")
    count = _count(match[1])
    return LastAndBest(count) if match[2] else Last(count)


def _updates(value: str) -> Updates:
    if value == "all":
        return All()
    if value == "until-audited":
        return UntilAudited()
    match = _LAST.fullmatch(value)
    if match is None or match[2]:
        raise PlanError(f"updates={value} is none of updates=all, updates=last:K and updates=until-audited")
    return Last(_count(match[1]))


def _count(digits: str, word: str = "last") -> int:
    count = int(digits)
    if count > MOST:
        raise PlanError(f"{word}:{digits} is more than {MOST}")
    return count

"""What a home keeps of its runs, if their own plans and its owner say so or say nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from protocol.blocks.cid import CID
from protocol.keeping.budget import Budget, LeaveFree, parse_budget
from protocol.keeping.droppable import Droppable, Kind, LinkedContents, RunSoFar, droppable, lost_may_go
from protocol.keeping.plan import (
    KEEP_EVERYTHING,
    All,
    KeepPlan,
    Last,
    LastAndBest,
    PlanError,
    UntilAudited,
    WhileRoom,
    parse_plan,
)
from protocol.records.bodies import Role

BY_ROLE: Final = {
    Role.SERVER: KeepPlan(updates=UntilAudited()),
    Role.CLIENT: KeepPlan(models=Last(4), updates=Last(4)),
    Role.KEEPER: KeepPlan(models=Last(1), updates=Last(1)),
}
"""What may go if the owner has said nothing, and room is needed. A server keeps all that a replay takes until an
auditor has confirmed it. A client keeps what it works with: the server holds the same. A keeper lets go of closed runs,
the oldest first, for those that come. Whoever else has a run keeps it."""


@dataclass(frozen=True, slots=True)
class Keeping:
    """What the owner of a home has said."""

    plan: KeepPlan | None = None
    """What stays; None if nothing was said. Then `BY_ROLE` says what may go, and it goes only if room is needed."""
    budget: Budget = field(default_factory=LeaveFree)

    def __post_init__(self) -> None:
        """Raises:
        PlanError: if the plan lets go what an open run needs: that is the run's to say.
        """
        if self.plan is not None and self.plan.drop_updates:
            raise PlanError("drop-updates is said for a run when it begins: peer start --drop-updates")

    @property
    def lets_go(self) -> bool:
        """Whether something goes though there is room."""
        return self.plan is not None and self.plan != KEEP_EVERYTHING

    def __str__(self) -> str:
        return f"{'default' if self.plan is None else self.plan}; {self.budget}"


def parse_keeping(text: str) -> Keeping:
    """What `str` of it gives.

    Raises:
        PlanError: if it is malformed.
    """
    plan, _, budget = text.partition("; ")
    return Keeping(None if plan == "default" else parse_plan(plan), parse_budget(budget))


def plans_now(role: Role, keeping: Keeping, of_run: KeepPlan | None, *, pressed: bool) -> list[KeepPlan]:
    """The plans of which each lets contents of a run go now: the run's own, ``of_run``, and the home's, in which its
    member has this role. ``pressed`` says that room is needed."""
    plans = [KEEP_EVERYTHING if of_run is None else of_run]
    home = keeping.plan
    if home is None and pressed:
        home = BY_ROLE.get(role)
    if home is not None:
        plans.append(_open_as(home, plans[0]))
    return [_now(plan, pressed=pressed) for plan in plans]


def may_go(
    exchanges: Sequence[LinkedContents],
    run: RunSoFar,
    plans: Sequence[KeepPlan],
    needed: frozenset[CID],
    lost: Sequence[tuple[CID, Kind]] = (),
) -> list[Droppable]:
    """What may go of a run by one of these plans, the oldest first. ``lost`` is what only records name that a takeover
    has lost."""
    found: dict[CID, Droppable] = {}
    for plan in plans:
        for each in (*lost_may_go(lost, plan, run, needed), *droppable(exchanges, plan, run, needed)):
            found.setdefault(each.content, each)
    return sorted(found.values(), key=lambda each: each.exchange)


def _now(plan: KeepPlan, *, pressed: bool) -> KeepPlan:
    """What a plan says if room is needed, or if it is not."""
    if not isinstance(plan.models, WhileRoom):
        return plan
    return replace(plan, models=LastAndBest(plan.models.count) if pressed else All())


def _open_as(home: KeepPlan, of_run: KeepPlan) -> KeepPlan:
    """The home's plan, which lets contents of an open run go only if the run's does."""
    if not of_run.drop_updates:
        return home
    updates = of_run.updates if isinstance(home.updates, All) else home.updates
    return replace(home, updates=updates, drop_updates=True)

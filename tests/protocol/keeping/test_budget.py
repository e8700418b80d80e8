"""`protocol.keeping.budget` and `protocol.keeping.home_plan`: what a home may hold, and what goes for it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from protocol.blocks.cid import CID, raw_block
from protocol.keeping.budget import AtMost, Disk, LeaveFree, NoBudget, excess, parse_budget, why_no_room
from protocol.keeping.droppable import ExchangeAt, LinkedContents, RunSoFar
from protocol.keeping.home_plan import Keeping, may_go, parse_keeping, plans_now
from protocol.keeping.plan import DROPPING, KeepPlan, Last, PlanError, UntilAudited, WhileRoom
from protocol.records.bodies import Role

MODELS, UPDATES = ([raw_block(b"%s %d" % (kind, n)).cid for n in range(4)] for kind in (b"model", b"update"))
EXCHANGES = [
    LinkedContents(ExchangeAt(n + 1, 2 * n + 2, is_answered=True), (MODELS[n],), (UPDATES[n],)) for n in range(4)
]
OPEN, CLOSED = RunSoFar(4, closed=False), RunSoFar(4, closed=True)


@pytest.mark.parametrize(
    ("text", "budget"),
    [("500G", AtMost(500 * 10**9)), ("2gb", AtMost(2 * 10**9)), ("1500", AtMost(1500)), ("none", NoBudget())],
)
def test_a_budget_is_a_size_or_none(text: str, budget: AtMost | NoBudget) -> None:
    assert parse_budget(text) == budget
    assert parse_budget(str(budget)) == budget


@pytest.mark.parametrize("text", ["", "-1", "1.5G", "much", "9" * 19 + "T"])
def test_a_text_that_is_no_budget_is_refused(text: str) -> None:
    with pytest.raises(PlanError):
        parse_budget(text)


def test_what_the_next_exchange_may_take_has_to_fit_too() -> None:
    disk = Disk(used=80, free=1000, size=2000, next=20)
    assert (excess(AtMost(100), disk), excess(AtMost(90), disk), excess(NoBudget(), disk)) == (0, 10, 0)
    assert why_no_room(AtMost(100), disk) == ""
    assert "80 B" in why_no_room(AtMost(90), disk)


def test_without_a_budget_a_small_disk_keeps_a_twentieth_free() -> None:
    assert excess(LeaveFree(), Disk(used=0, free=120, size=2000, next=20)) == 0
    assert excess(LeaveFree(), Disk(used=0, free=119, size=2000, next=20)) == 1
    assert excess(LeaveFree(), Disk(used=10**9, free=None, size=0, next=10**9)) == 0


@pytest.mark.parametrize("keeping", [Keeping(), Keeping(KeepPlan(updates=Last(2)), AtMost(5)), Keeping(KeepPlan())])
def test_what_an_owner_has_said_reads_back(keeping: Keeping) -> None:
    assert parse_keeping(str(keeping)) == keeping


def test_an_owner_cannot_let_go_what_an_open_run_needs() -> None:
    with pytest.raises(PlanError, match="when it begins"):
        Keeping(KeepPlan(updates=Last(1), drop_updates=True))


def gone(run: RunSoFar, keeping: Keeping, of_run: KeepPlan | None = None, *, pressed: bool = False) -> list[CID]:
    plans = plans_now(run.holder, keeping, of_run, pressed=pressed)
    found = may_go(EXCHANGES, run, plans, frozenset({MODELS[1]}))
    return [each.content for each in found]


def test_by_default_nothing_goes_before_room_is_needed_and_a_servers_updates_only_once_they_are_audited() -> None:
    audited = RunSoFar(4, closed=True, audited=4)
    assert gone(audited, Keeping()) == []
    assert gone(audited, Keeping(), pressed=True) == UPDATES[:2]
    assert gone(CLOSED, Keeping(), pressed=True) == []
    assert gone(RunSoFar(4, closed=True, holder=Role.AUDITOR), Keeping(), pressed=True) == []


def test_a_keeper_lets_the_older_exchanges_of_a_closed_run_go_if_room_is_needed() -> None:
    closed = RunSoFar(4, closed=True, holder=Role.KEEPER)
    assert gone(closed, Keeping()) == []
    assert gone(closed, Keeping(), pressed=True) == [MODELS[0], UPDATES[0], UPDATES[1], MODELS[2], UPDATES[2]]
    assert gone(RunSoFar(4, closed=False, holder=Role.KEEPER), Keeping(), pressed=True) == []


def test_what_an_owner_has_said_goes_at_once_the_oldest_first() -> None:
    keeping = Keeping(KeepPlan(models=Last(2), updates=Last(1)))
    assert gone(CLOSED, keeping) == [MODELS[0], *UPDATES[:3]]
    assert gone(OPEN, keeping) == []


def test_a_run_that_drops_its_updates_lets_the_owners_plan_reach_the_open_run() -> None:
    dropping = KeepPlan(updates=Last(2), drop_updates=True)
    assert gone(OPEN, Keeping(), dropping) == UPDATES[:2]
    assert set(gone(OPEN, Keeping(KeepPlan(models=Last(3))), dropping)) == {MODELS[0], *UPDATES[:2]}
    assert gone(OPEN, Keeping(KeepPlan(updates=UntilAudited())), dropping) == UPDATES[:2]


def test_models_that_stay_while_there_is_room_go_for_room_but_for_the_last_and_the_best() -> None:
    plan = KeepPlan(models=WhileRoom(1), updates=Last(4), drop_updates=True)
    assert gone(replace(OPEN, best=1), Keeping(), plan) == []
    assert gone(replace(OPEN, best=1), Keeping(), plan, pressed=True) == [MODELS[2]]
    assert gone(replace(OPEN, is_best_known=False), Keeping(), plan, pressed=True) == []


def test_a_run_that_drops_its_updates_by_itself_lets_its_older_models_go_for_room() -> None:
    kept = DROPPING.models
    assert isinstance(kept, WhileRoom)
    plan = replace(DROPPING, models=WhileRoom(kept.count - 2))  # of the four exchanges here
    found = may_go(EXCHANGES, OPEN, plans_now(Role.SERVER, Keeping(), plan, pressed=True), frozenset())
    assert [each.content for each in found if each.content in MODELS] == MODELS[:2]

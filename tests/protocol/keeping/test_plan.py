"""`protocol.keeping.plan`: plans, and their one text."""

from __future__ import annotations

import pytest

from protocol.keeping.plan import (
    DROPPING,
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

PLANS = {
    "models=all updates=all": KEEP_EVERYTHING,
    "models=last:0 updates=last:7": KeepPlan(Last(0), Last(7)),
    "models=last:3+best updates=until-audited": KeepPlan(LastAndBest(3), UntilAudited()),
    "models=room:4 updates=last:1 drop-updates": DROPPING,
    "models=all updates=last:1 drop-updates": KeepPlan(All(), Last(1), drop_updates=True),
    "models=last:2 updates=until-audited drop-updates": KeepPlan(Last(2), UntilAudited(), drop_updates=True),
}


@pytest.mark.parametrize("text", PLANS)
def test_a_plan_has_one_text(text: str) -> None:
    assert parse_plan(text) == PLANS[text]
    assert str(PLANS[text]) == text


@pytest.mark.parametrize(
    ("text", "plan"),
    [
        ("updates=last:7", KeepPlan(All(), Last(7))),
        ("models=last:7", KeepPlan(Last(7), All())),
        ("drop-updates", DROPPING),
        ("drop-updates updates=last:2", KeepPlan(WhileRoom(4), Last(2), drop_updates=True)),
        ("  drop-updates   models=last:2 ", KeepPlan(Last(2), Last(1), drop_updates=True)),
    ],
)
def test_what_a_plan_leaves_out_stays(text: str, plan: KeepPlan) -> None:
    assert parse_plan(text) == plan


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "empty"),
        ("models", "models= is none of"),
        ("models=last", "models=last is none of"),
        ("models=last:-1", "last:-1"),
        ("models=last:٣", "is none of"),
        ("models=until-audited", "models=until-audited"),
        ("updates=last:2+best", "updates=last:2[+]best"),
        ("updates=last:1000000001", "more than 1000000000"),
        ("updates=all updates=all", "said twice"),
        ("drop-updates drop-updates", "said twice"),
        ("drop-updates=no", "no part of a plan"),
        ("drop-updates updates=all", "updates=all keeps them"),
        ("rounds=all", "'rounds=all' is no part of a plan"),
        ("models=all " * 100, "at most 100 characters"),
    ],
)
def test_a_text_that_is_no_plan_says_what_is_wrong(text: str, why: str) -> None:
    with pytest.raises(PlanError, match=why):
        parse_plan(text)

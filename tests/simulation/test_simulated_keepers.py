"""Members that all can only dial out, with a keeper between them: whatever is lost or crashes, the run ends as ever."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import pytest
from sim_faults import CALM, Faults
from sim_numbers import some
from simulation import Scenario, Simulation, seen_by_the_app, undisturbed

BEHIND = Scenario(clients=2, rounds=2, keeper=True)
DIRECT = replace(BEHIND, keeper=False)


@pytest.mark.parametrize("encrypted", [False, True])
def test_members_that_reach_nobody_but_a_keeper_do_what_they_did_without_it(*, encrypted: bool) -> None:
    scenario = replace(BEHIND, encrypted=encrypted)
    direct = undisturbed(replace(DIRECT, encrypted=encrypted))
    assert seen_by_the_app(Simulation(scenario, CALM, seed=1).run()) == seen_by_the_app(direct)


@pytest.mark.parametrize("seed", some(3, of=5))
def test_whatever_is_lost_or_crashes_the_run_ends_alike_and_is_all_at_the_keeper(seed: int) -> None:
    drawn = Faults.draw(Random(seed))
    faults = replace(drawn, crashes=2, loss=min(drawn.loss, 0.5))  # each word takes two ways, and may be lost on both
    run = Simulation(BEHIND, faults, seed)
    assert seen_by_the_app(run.run()) == seen_by_the_app(undisturbed(DIRECT))


def test_members_that_a_keeper_keeps_apart_wait_for_each_other() -> None:
    apart = Simulation(BEHIND, CALM, seed=1)
    assert apart.keeper is not None
    apart.keeper._network.leave_for("keeper", 3.0, 600.0)
    assert seen_by_the_app(apart.run()) == seen_by_the_app(undisturbed(DIRECT))
    assert apart.seconds > 600.0

"""A leader whose engine is away for a while: its run ends as if that had not been, impatient as the leader is."""

from __future__ import annotations

from random import Random

import pytest
from sim_faults import Faults
from sim_numbers import some
from simulation import Scenario, Simulation, undisturbed


@pytest.mark.parametrize("length", [25.0, 200.0])
@pytest.mark.parametrize("number", some(3, of=12))
def test_a_leader_that_was_offline_gives_up_on_nobody(number: int, length: float) -> None:
    random = Random(f"deaf {number} {length}")
    scenario = Scenario(clients=random.randint(2, 4), app=random.choice(("rounds", "crossing")), patient=False)
    told = Simulation(scenario, Faults(offline_times=random.randint(1, 3), offline_length=length), number).run(
        to_the_last=True
    )
    assert told == undisturbed(scenario)

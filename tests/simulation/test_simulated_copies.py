"""A copy of a home is started beside it: one of the two stops before it signs, and nobody is convicted.

A failure prints the scenario, the seed, and what happened last.
"""

from __future__ import annotations

from random import Random

import pytest
from sim_apps import APPS
from sim_faults import CALM
from sim_numbers import some
from sim_restore import Copied
from simulation import Scenario, Simulation
from test_restored_homes import ROUGH, assert_as_undisturbed


@pytest.mark.parametrize("number", some(3, of=12))
@pytest.mark.parametrize("role", ["server", "client"])
def test_if_a_home_and_its_copy_meet_the_one_that_ran_goes_on(role: str, number: int):
    random = Random(f"copied {role} {number}")
    given = Scenario(random.choice((2, 3, 4, 5)), rounds=2, app=random.choice(sorted(APPS)))
    run = Simulation(given, random.choice((CALM, ROUGH)), number)
    peer = run.server if role == "server" else random.choice(run.clients)
    copied = Copied(peer, random.randint(1, 12), delay=random.choice((0.0, 0.5)))

    assert_as_undisturbed(run, to_the_last=False)

    assert copied.twin is not None
    run.timeline.run(lambda: bool(copied.stopped), 3.0)
    assert copied.stopped in ([copied.twin], []), "the original stopped"
    if not copied.stopped:  # the run was over before the copy came to sign
        assert copied.twin.disk.replies.keys() <= peer.disk.replies.keys()

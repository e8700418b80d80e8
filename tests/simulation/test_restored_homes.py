"""A home that was restored from an older copy takes up what it signed since, and nobody is convicted.

A failure prints the scenario, the seed, and what happened last.
"""

from __future__ import annotations

from collections import Counter
from random import Random

import pytest
from sim_apps import APPS
from sim_faults import CALM, Faults
from sim_numbers import some
from sim_restore import Restored
from simulation import Scenario, Simulation, seen_by_the_app, undisturbed

ROUGH = Faults(loss=0.2, duplication=0.2, delay=0.02, stragglers=0.02)


def scenario(random: Random, app: str) -> Scenario:
    return Scenario(clients=random.choice((2, 3, 5)), rounds=2, app=app, remembers=False)


def steps_of(scenario: Scenario, number: int) -> list[int]:
    """How many durable steps each peer takes in an undisturbed run: the server first."""
    run = Simulation(scenario, CALM, number)
    counted = Counter[int]()
    for place, peer in enumerate((run.server, *run.clients)):
        carry_out = peer.disk.carry_out

        def count(effect, place=place, carry_out=carry_out):
            counted[place] += 1
            carry_out(effect)

        peer.disk.carry_out = count
    run.run()
    return [counted[place] for place in range(len(run.clients) + 1)]


def assert_as_undisturbed(run: Simulation, *, to_the_last: bool) -> None:
    told = run.run(to_the_last=to_the_last)
    assert seen_by_the_app(told) == seen_by_the_app(undisturbed(run.scenario))
    assert not any(peer.disk.proofs for peer in (run.server, *run.clients)), "somebody was convicted"


@pytest.mark.parametrize("number", some(4, of=30))
def test_a_restored_server_takes_up_its_newer_records_and_ends_as_the_undisturbed_one(number: int):
    random = Random(f"restored server {number}")
    given = scenario(random, random.choice(sorted(APPS)))
    (steps, *_) = steps_of(given, number)
    restore = 3 + number * int(0.85 * steps) // 30  # before the close: after it no client stays that could tell
    snapshot = random.randint(2, restore - 1)  # the run has begun
    run = Simulation(given, random.choice((CALM, ROUGH)), number)
    Restored(run.server, snapshot, restore, blocks=random.random() < 0.5, downtime=random.choice((0.5, 5.0)))
    assert_as_undisturbed(run, to_the_last=False)


@pytest.mark.parametrize("number", some(4, of=30))
def test_a_restored_client_signs_no_second_reply_or_ack_and_the_run_ends_as_the_undisturbed_one(number: int):
    random = Random(f"restored client {number}")
    given = scenario(random, random.choice(sorted(APPS)))
    (_, steps, *_) = steps_of(given, number)
    restore = 2 + number * (steps - 1) // 30
    snapshot = random.randint(1, restore - 1)
    run = Simulation(given, random.choice((CALM, ROUGH)), number)
    run.clients[0]._witness.forgives = True
    Restored(run.clients[0], snapshot, restore, blocks=False, downtime=random.choice((0.5, 5.0)))
    assert_as_undisturbed(run, to_the_last=False)  # after the end no server stays that could tell it so
    run.timeline.run(lambda: False, 60.0)
    assert not any(peer.disk.proofs for peer in (run.server, *run.clients))


@pytest.mark.parametrize("number", some(2, of=6))
def test_homes_of_server_and_client_restored_in_one_run(number: int):
    random = Random(f"both restored {number}")
    run = Simulation(scenario(random, "rounds"), CALM, number)
    run.server._witness.forgives = True
    Restored(run.server, random.randint(4, 8), random.randint(9, 20), blocks=True)
    Restored(run.clients[0], random.randint(1, 8), random.randint(9, 16), blocks=False)
    assert_as_undisturbed(run, to_the_last=True)

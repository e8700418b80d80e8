"""A client that is slow in a run that does not wait for it: the run ends, whatever is lost or crashes on the way."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import pytest
from sim_drawn import HURRIED
from sim_faults import CALM, Faults
from sim_numbers import some
from sim_roles import TrainingClient
from simulation import Scenario, Simulation

SLOW = 40.0
"""Seconds for a message."""


def with_a_slow_client(faults: Faults, seed: int, **scenario: bool | int) -> Simulation:
    run = Simulation(replace(Scenario(clients=3, rounds=4, closing=HURRIED), **scenario), faults, seed)
    slow = run.clients[0].role
    assert isinstance(slow, TrainingClient)
    slow.works_for = SLOW
    return run


@pytest.mark.parametrize("encrypted", [pytest.param(False, marks=pytest.mark.all), True])
def test_nobody_waits_for_a_slow_client(*, encrypted: bool) -> None:
    run = with_a_slow_client(CALM, 1, encrypted=encrypted)
    run.run(to_the_last=True)
    assert run.left_out
    assert run.late
    messages = 2 * run.scenario.rounds  # for each client, if the run waits for it: to train on, and to evaluate
    assert run.seconds < (messages - 1) * SLOW


@pytest.mark.parametrize("number", some(1, of=40))
def test_whatever_is_lost_or_crashes_it_ends_and_each_late_reply_is_its_clients(number: int) -> None:
    run = with_a_slow_client(Faults.draw(Random(f"slow {number}")), number)
    run.run()
    assert run.left_out


@pytest.mark.parametrize("number", some(1, of=40))
def test_who_takes_the_run_over_waits_for_a_slow_client_no_longer_than_the_leader_before(number: int) -> None:
    faults = Faults.draw(Random(f"slow in a takeover {number}"))
    faults = replace(faults, loss=min(faults.loss, 0.5))
    run = with_a_slow_client(faults, number, standbys=1, elects=True, gone=True)
    told = run.run()
    assert "takeover" in [each["type"] for each in told]
    assert run.left_out

"""Whoever leads: at most one in a term, what is settled stays, and the run ends in the model of an undisturbed one.

`sim_terms` looks at each step. A failure prints its seed, and the test of that number repeats it exactly.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from random import Random
from typing import Any

import pytest
import sim_peer
from sim_apps import APPS
from sim_crashes import CrashInElection
from sim_drawn import PATIENCE, assert_as_undisturbed
from sim_faults import CALM, Faults
from sim_federation import key_of
from sim_liars import Liar, Lie
from sim_numbers import some
from sim_peer import LOOKING
from sim_restore import Restored
from simulation import Scenario, Simulation, seen_by_the_app, undisturbed
from test_restored_homes import ROUGH

from protocol.roles.effects import Durable, KeepVote, Store, WriteHead
from protocol.roles.events import ToHandOver


def types_of(told: tuple[Mapping[str, Any], ...]) -> list[str]:
    return [each["type"] for each in told]


def test_a_server_that_is_lost_for_good_is_succeeded() -> None:
    run = Simulation(Scenario(clients=3, rounds=3, standbys=1, elects=True, gone=True), CALM, seed=1)
    assert "takeover" in types_of(run.run())


def test_a_leader_that_handed_over_ends_though_all_that_had_the_replies_have_left(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run = Simulation(Scenario(clients=1, rounds=2, standbys=1, elects=True), replace(CALM, delay=0.3), seed=0)
    (standby,) = run.standbys

    def hand_over() -> None:
        if not standby.disk.heads:
            run.timeline.after(LOOKING, hand_over)
            return
        run.server.feed(ToHandOver(key_of(standby.name).verify_key.raw))
        run.timeline.after(2.0, lambda: monkeypatch.setattr(sim_peer, "APP_START", 90.0))  # the old leader's next one

    run.timeline.after(LOOKING, hand_over)
    run.run(to_the_last=True)


@pytest.mark.parametrize(
    ("at", "is_kept", "term"),
    [
        (KeepVote, False, 2),
        (KeepVote, True, 3),
        (Store, False, 3),
        (Store, True, 3),
        (WriteHead, False, 3),
        (WriteHead, True, 2),
    ],
)
def test_a_candidate_that_crashes_leads_with_its_takeover_or_in_a_higher_term(
    at: type[Durable], is_kept: bool, term: int
) -> None:
    run = Simulation(Scenario(clients=2, rounds=2, standbys=1, elects=True, gone=True), CALM, seed=2)
    crash = CrashInElection(run.standbys[0], at, is_kept=is_kept)
    told = run.run()
    assert crash.effect is not None
    assert [each["term"] for each in told if each["type"] == "takeover"] == [term]
    assert seen_by_the_app(told) == seen_by_the_app(undisturbed(Scenario(clients=2, rounds=2)))


@pytest.mark.parametrize("lie", Lie)
def test_one_member_that_lies_about_votes_keeps_no_run_from_its_end(lie: Lie) -> None:
    server = lie.of_server
    scenario = Scenario(clients=3, rounds=6 if server else 4, standbys=2 if server else 1, elects=True, gone=True)
    for seed in range(1, 9):
        run = Simulation(scenario, CALM, seed)
        liar = Liar(run, run.standbys[1] if server else run.clients[0], lie)
        told = run.run()
        if liar.told and "takeover" in types_of(told):
            break  # in some runs nobody asks it, or the leader is gone too late
    else:
        raise AssertionError("it never had occasion to lie")
    assert seen_by_the_app(told) == seen_by_the_app(undisturbed(Scenario(clients=3, rounds=scenario.rounds)))
    assert run.seconds < 200.0


def lied_to(number: int, lie: Lie, *, clocks: float = math.inf) -> Simulation:
    """Scenario and faults follow from the number. Clocks jump by ``clocks`` seconds at most."""
    random = Random(f"liar {number}")
    gone = random.random() < 0.5
    scenario = Scenario(3, random.choice((2, 3)), random.choice(sorted(APPS)), standbys=2, elects=True, gone=gone)
    faults = Faults.draw(random)
    faults = replace(faults, loss=min(faults.loss, 0.5), clock_jumps=min(faults.clock_jumps, clocks))
    run = Simulation(scenario, faults, number, patience=PATIENCE)
    Liar(run, run.standbys[1] if lie.of_server else run.clients[0], lie)
    return run


@pytest.mark.parametrize("number", [11, *some(0, of=6)])
@pytest.mark.parametrize("lie", [Lie.CANVASSES, Lie.LEAPS])
def test_a_server_that_leads_some_voters_to_higher_terms_than_others_keeps_no_run_from_its_end(
    lie: Lie, number: int
) -> None:
    run = lied_to(number, lie, clocks=60.0)  # with clocks that are further apart it takes as much longer
    assert_as_undisturbed(run)
    assert run.seconds < 800.0


@pytest.mark.parametrize("number", some(2, of=len(Lie)))
def test_a_lie_under_faults_makes_no_second_leader_and_keeps_no_run_from_its_end(number: int) -> None:
    lie = list(Lie)[number]
    run = lied_to(number, lie)
    if lie is Lie.VOTES_TWICE:  # who is convicted of that takes no part any more
        run.run()
    else:
        assert_as_undisturbed(run)


@pytest.mark.parametrize("number", some(2, of=40))
def test_a_voter_whose_home_is_put_back_makes_no_second_leader_and_loses_nothing(number: int) -> None:
    random = Random(f"restored voter {number}")
    app, rounds, standbys = random.choice(sorted(APPS)), random.choice((3, 5)), random.choice((1, 2))
    scenario = Scenario(3, rounds, app, remembers=False, standbys=standbys, elects=True, gone=True)
    run = Simulation(scenario, random.choice((CALM, ROUGH)), number)
    run.server._witness.forgives = True
    voter, snapshot = random.choice((*run.standbys, *run.clients)), random.randint(2, 12)
    Restored(voter, snapshot, snapshot + random.randint(1, 12), blocks=False)
    assert_as_undisturbed(run)

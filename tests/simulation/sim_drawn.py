"""Runs that are drawn: from a number come the scenario, the faults, and all that either leaves open."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from random import Random
from typing import Any, Final

from sim_apps import APPS
from sim_cheat import Cheat
from sim_faults import Faults
from sim_federation import key_of
from sim_roles import acks_of
from simulation import Scenario, Simulation, SimulationFailure, seen_by_the_app, undisturbed

from protocol.records.bodies import Comparison, RecomputedAck
from protocol.replies.closing_rule import ClosingRule, Share

PATIENCE: Final = 1200.0
"""Virtual seconds after the last fault in which a run ends that servers may take over: what is lost on the way, and
blocks that nobody gives in time, are no end of faults."""

HURRIED: Final = ClosingRule(Share(500), 1.0)
"""Half of the replies are enough after a second."""

UNHURRIED: Final = ClosingRule(Share(500), 100_000.0)
"""It says how an exchange closes, and none does so early."""


def simulation(number: int) -> Simulation:
    """A run that one server leads to its end."""
    random = Random(f"pollen {number}")
    scenario, faults = Scenario.draw(random), Faults.draw(random)
    return Simulation(replace(scenario, standbys=int(number % 4 == 0 and scenario.clients < 4)), faults, number)


def takeover(number: int) -> Simulation:
    """A run that other servers may take over."""
    random = Random(f"takeover {number}")
    scenario = Scenario(
        clients=random.choice((2, 3)),
        rounds=random.choice((2, 3)),
        app=random.choice(sorted(APPS)),
        newcomer=random.random() < 0.1,
        standbys=random.choice((1, 1, 2)),
        elects=True,
        gone=random.random() < 0.4,
    )
    return Simulation(scenario, _elected_under(random), number, patience=PATIENCE)


def guarded(number: int) -> Simulation:
    """A run that other servers may take over, and in which any of these is so: clients train on what a witness has
    recomputed, exchanges close early, an admin has another server lead, the leader cheats."""
    random = Random(f"guarded {number}")
    cheats, gone = random.random() < 0.25, random.random() < 0.3
    witnesses = int(cheats or random.random() < 0.5)
    scenario = Scenario(
        clients=random.choice((2, 3)),
        rounds=3 if cheats else random.choice((2, 3)),  # what comes of a cheat in round 2 is trained on in round 3
        app="rounds" if cheats else random.choice(sorted(APPS)),
        remembers=not witnesses,  # a message that is no training waits for no witness, and may be answered before one
        standbys=_others(random, witnesses, cheats=cheats),
        elects=True,
        gone=gone and not cheats,
        honest=not cheats,
        witnesses=witnesses,
        closing=random.choice((None, None, HURRIED, UNHURRIED)),
        appoints=random.random() < 0.5,
    )
    run = Simulation(scenario, _elected_under(random), number, patience=PATIENCE)
    if cheats:
        Cheat(run)
    return run


def alone_with_one(number: int) -> Simulation:
    """A run whose clients train on what one witness has recomputed, of three servers of which one is lost for good."""
    random = Random(f"word {number}")
    scenario = Scenario(
        clients=random.choice((2, 3)),
        rounds=random.choice((2, 3)),
        app=random.choice(sorted(APPS)),
        remembers=False,
        standbys=2,
        elects=True,
        gone=True,
        witnesses=1,
        appoints=random.random() < 0.5,
    )
    return Simulation(scenario, _elected_under(random), number, patience=PATIENCE)


def _others(random: Random, witnesses: int, *, cheats: bool) -> int:
    """How many servers stand by. If there are witnesses, two: one may be lost, and of what it sent the one that leads
    is a witness. Of a cheat, one that led on from it says nothing, and two have to."""
    return random.choice((1, 2)) if not witnesses else 3 if cheats else 2


def _elected_under(random: Random) -> Faults:
    faults = Faults.draw(random)
    return replace(faults, loss=min(faults.loss, 0.5))


def assert_as_undisturbed(run: Simulation) -> None:
    """It ends as it would if nothing went wrong, nobody stood by and nobody watched; but for who was left out, if its
    exchanges close early. Or it waits for its admins, and says why."""
    try:
        told = run.run()
    except SimulationFailure:
        if run._is_stuck and _waits_for_admins(run):
            return
        raise
    if run.scenario.closing != HURRIED:
        assert seen_by_the_app(told) == seen_by_the_app(of_one_server(run.scenario))


def _waits_for_admins(run: Simulation) -> bool:
    """Whether servers contradict a record, and are no majority: one that has led on from a cheat, before it had run the
    app that far, says nothing of it, and may be the one that lacks."""
    acks = [ack for each in run.standbys for ack in acks_of(key_of(each.name).verify_key.raw, each.disk)]
    words = [ack for ack in acks if isinstance(ack, RecomputedAck)]
    against = {ack.by for ack in words if ack.recomputed.comparison is Comparison.DIVERGED}
    return 0 < 2 * len(against) <= 1 + len(run.standbys)


def of_one_server(scenario: Scenario) -> tuple[Mapping[str, Any], ...]:
    """What a scenario comes to if nothing goes wrong and no other server has a part in it."""
    plain = replace(scenario, newcomer=False, standbys=0, elects=False, gone=False, honest=True)
    return undisturbed(replace(plain, witnesses=0, closing=None, appoints=False))


def any_run(seed: int) -> None:
    """Half of all runs have servers that may take them over.

    Raises:
        AssertionError: with the command that repeats it.
    """
    try:
        _any_run(seed)
    except AssertionError as error:
        error.add_note(f"to repeat it: python tests/simulation/sim_seeds.py --seed {seed}")
        raise


def _any_run(seed: int) -> None:
    match seed % 4:
        case 1:
            assert_as_undisturbed(takeover(seed // 2))
        case 3:
            assert_as_undisturbed(guarded(seed // 4))
        case _:
            disturbed = simulation(seed // 2)
            told, calm = disturbed.run(), undisturbed(replace(disturbed.scenario, newcomer=False))
            assert seen_by_the_app(told) == seen_by_the_app(calm)
            assert disturbed.scenario.newcomer or disturbed.scenario.standbys or told == calm

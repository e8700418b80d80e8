"""What a second server signs of a run that it replays as it goes on: the truth, once, whatever goes wrong around it."""

from __future__ import annotations

import pytest
from sim_disk import chain_of
from sim_faults import CALM, Faults
from sim_numbers import some
from sim_roles import acks_of
from simulation import Scenario, Simulation, undisturbed

from protocol.records.bodies import Ack, Comparison, RecomputedAck

ROUGH = Faults(loss=0.4, duplication=0.4, delay=0.02, stragglers=0.1, crash_chance=0.02, crashes=4, downtime=1.0)


def replayed(faults: Faults, seed: int = 1, **changes: bool) -> tuple[Simulation, list[Ack]]:
    """A run that a second server replays, as far as it gets before nobody is left who has all of it; and what that
    server signed."""
    run = Simulation(Scenario(clients=2, standbys=1, **changes), faults, seed)
    run.run()
    (standby,) = run.standbys
    run.timeline.run(lambda: standby.finished, 60.0)
    return run, acks_of(standby.role.identity.member, standby.disk)


def test_a_standby_confirms_each_exchange_as_it_comes_and_the_close() -> None:
    run, acks = replayed(CALM)
    assert run.server.disk.closed is not None
    records = chain_of(run.server.disk.closed, run.server.disk)
    dispatches = [record.body.height for record in records if record.body.TYPE == "dispatch"]
    *confirmed, last = (ack.height for ack in acks)
    assert set(confirmed) <= set(dispatches)  # one that comes while an ack is written goes with the next
    assert (len(confirmed) > len(dispatches) // 2, last) == (True, len(records) - 1)
    assert all(isinstance(ack, RecomputedAck) and ack.recomputed.since == 1 for ack in acks)
    *heard, _ = run.standbys[0].disk.acks  # its leader may have left by the last, which is of the close
    assert set(heard) <= set(run.server.disk.acks)


def test_a_standby_changes_nothing_of_the_run() -> None:
    scenario = Scenario(clients=2, standbys=1)
    assert Simulation(scenario, ROUGH, 3).run() == undisturbed(scenario)


@pytest.mark.parametrize("seed", some(3, of=100))
def test_a_standby_that_crashes_confirms_the_run_once_at_each_height(seed: int) -> None:
    _, acks = replayed(ROUGH, seed, newcomer=seed % 3 == 0)
    assert len({ack.height for ack in acks}) == len(acks)
    assert all(isinstance(ack, RecomputedAck) for ack in acks)
    assert acks


@pytest.mark.parametrize("seed", some(3, of=100))
def test_a_leader_that_cheats_is_contradicted_where_it_does_and_nowhere_else(seed: int) -> None:
    run, acks = replayed(CALM if seed == 0 else ROUGH, seed, honest=False)
    assert run.server.disk.closed is not None
    records = chain_of(run.server.disk.closed, run.server.disk)
    cheated = [record.body.height for record in records if record.body.TYPE == "dispatch"][3]
    told = [(ack.height, ack.recomputed) for ack in acks if isinstance(ack, RecomputedAck)]
    assert all(height < cheated for height, each in told if each.comparison is Comparison.EQUAL)
    contradictions = [(height, each) for height, each in told if each.comparison is Comparison.DIVERGED]
    assert [height for height, _ in contradictions] in ([cheated], [] if seed else [cheated])
    assert all(run.standbys[0].disk.whole(each.content) for _, each in contradictions if each.content is not None)
    assert all(each.message == 0 for _, each in contradictions)

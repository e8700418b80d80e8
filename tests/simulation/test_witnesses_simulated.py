"""A run that needs a witness comes to its end whatever goes wrong, and nobody trains on what a leader cheats with."""

from __future__ import annotations

from dataclasses import replace

import pytest
from sim_disk import Disk
from sim_faults import CALM, Faults
from sim_numbers import some
from sim_roles import Server
from simulation import Scenario, Simulation, undisturbed

from protocol.blocks.cid import CID
from protocol.records.bodies import Comparison, DispatchPrivate, RecomputedAck, Reply
from protocol.records.private_parts import parse_private
from protocol.records.signed_records import parse_record, read_chained, read_record

ROUGH = Faults(loss=0.4, duplication=0.4, delay=0.02, stragglers=0.1, crash_chance=0.02, crashes=4, downtime=1.0)
WITHIN = 120.0
"""Seconds of virtual time in which a leader that cheats has been stopped."""


def witnessed(scenario: Scenario, faults: Faults, seed: int) -> Simulation:
    run = Simulation(scenario, faults, seed)
    assert isinstance(run.server.role, Server)
    run.server.role.plan = replace(run.server.role.plan, witnesses=1)
    return run


@pytest.mark.parametrize("seed", some(1, of=100))
def test_a_witnessed_run_ends_with_the_undisturbed_model(seed: int) -> None:
    scenario = Scenario(clients=2, standbys=1)
    assert witnessed(scenario, ROUGH, seed).run(to_the_last=True) == undisturbed(scenario)


def test_no_client_trains_on_what_a_leader_sends_that_its_witness_contradicts_nor_answers_anything_after() -> None:
    run = witnessed(Scenario(clients=2, standbys=1, honest=False), CALM, 1)
    run.timeline.run(lambda: False, WITHIN)
    (standby,) = run.standbys
    words = [parse_record(block).body for block in standby.disk.acks.values()]
    told = [ack for ack in words if isinstance(ack, RecomputedAck)]
    (against,) = [ack for ack in told if ack.recomputed.comparison is Comparison.DIVERGED]
    answered = [_answered(client.disk, reply.reply) for client in run.clients for reply in client.disk.replies.values()]
    assert max(height for height, _ in answered) <= against.height
    assert 0 < max(height for height, kind in answered if kind == "train") < against.height
    assert run.server.disk.closed is None


def _answered(disk: Disk, reply: CID) -> tuple[int, str]:
    """The height of the dispatch that a reply answers, and the type of its messages."""
    body = read_record(reply, disk).body
    assert isinstance(body, Reply)
    dispatch = read_chained(body.dispatch, disk)
    ((kind, _),) = parse_private(dispatch.private, DispatchPrivate).kinds
    return dispatch.height, kind

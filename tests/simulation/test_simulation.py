"""Whatever is lost, late, cut off or crashes: a run of one kind ends as the undisturbed one does.

A failure prints its seed and what happened last; the test of that number repeats it exactly, in any process.
"""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from random import Random

import pytest
from sim_apps import APPS
from sim_disk import Disk, chain_of
from sim_drawn import simulation
from sim_faults import CALM, Faults
from sim_numbers import some
from sim_peer import Peer
from sim_roles import BUNDLE
from simulation import Scenario, Simulation, SimulationFailure, seen_by_the_app, undisturbed

from protocol.records.bodies import Collect, TakenReply
from protocol.records.signed_records import answers
from protocol.roles.effects import KeepReply, WriteHead

HERE = Path(__file__).parent


@pytest.mark.parametrize("number", some(3, of=12))
def test_a_disturbed_run_of_a_federation_that_encrypts_ends_as_the_undisturbed_one(number):
    random = Random(f"encrypted {number}")
    scenario = Scenario(clients=2, rounds=2, app=random.choice(sorted(APPS)), encrypted=True, leaver=number % 3 > 0)
    told = Simulation(scenario, Faults.draw(random), number).run()
    assert seen_by_the_app(told) == seen_by_the_app(undisturbed(replace(scenario, leaver=False)))


def test_another_manifest_key_reaches_every_peer_while_the_run_is_on():
    for seed in range(6):  # until it comes into force while the run is on
        run = Simulation(Scenario(encrypted=True, leaver=True), CALM, seed)
        epochs = {told["epoch"] for told in run.run()}
        if 2 in epochs:
            assert len({peer.disk.manifest for peer in (run.server, *run.clients)}) == 1
        if epochs == {1, 2, None}:  # a roster, which has no private part, between two epochs
            return
    pytest.fail("no run had both keys")


def test_a_newer_manifest_takes_force_while_messages_are_open():
    types = ([told["type"] for told in Simulation(Scenario(newcomer=True), CALM, seed).run()] for seed in range(12))
    assert any(later == "roster" for each in types for earlier, later in pairwise(each) if earlier == "dispatch")


def test_clients_wait_for_approval_and_the_run_ends_as_if_they_had_named_its_app():
    waiting = Simulation(Scenario(approval=True), CALM, seed=2)
    assert waiting.run() == undisturbed(Scenario())
    assert all(client.disk.asked == client.disk.unpacked == {BUNDLE.cid} for client in waiting.clients)


@pytest.mark.parametrize("number", some(3, of=20))
def test_a_disturbed_run_is_finished_though_its_app_waits_for_approval(number):
    random = Random(f"approval {number}")
    waiting = Simulation(Scenario(approval=True), Faults.draw(random), number)
    waiting.run()
    assert any(client.disk.asked for client in waiting.clients)


def test_what_nobody_approves_is_neither_unpacked_nor_started(monkeypatch):
    monkeypatch.setattr(Peer, "approve", lambda _: None)
    unread = Simulation(Scenario(approval=True), CALM, seed=2)
    unread.timeline.run(lambda: False, 60.0)
    assert all(client.disk.asked == {BUNDLE.cid} and not client.disk.unpacked for client in unread.clients)


def test_a_long_run_with_index_records_ends_the_same():
    scenario = Scenario(clients=2, rounds=66, app="crossing")
    faults = Faults(loss=0.3, crash_chance=0.001, crashes=3, downtime=0.1, fetch_failure=0.1)
    disturbed = Simulation(scenario, faults, seed=3)
    told = disturbed.run()
    assert disturbed.server.crashes > 0
    assert told[256]["type"] == "index"
    assert told == undisturbed(scenario)


@pytest.mark.parametrize("app", ["rounds", "crossing"])
def test_an_undisturbed_run_hands_each_message_to_an_app_once(app):
    calm = Simulation(Scenario(app=app), CALM, seed=1)
    calm.run()
    assert {count for client in calm.clients for count in client.role.handed.values()} == {1}


def test_what_is_kept_is_never_computed_again():
    harsh = Simulation(Scenario(), Faults(loss=0.5, crash_chance=0.02, crashes=20, downtime=1.0), seed=1)
    harsh.run()
    assert sum(client.crashes for client in harsh.clients) > 10
    assert all(max(client.role.handed.values()) <= 1 + client.crashes for client in harsh.clients)


@pytest.mark.parametrize("hash_seed", ["1", pytest.param("2", marks=pytest.mark.all)])
def test_a_seed_repeats_exactly_in_another_process(hash_seed):
    script = "from sim_drawn import simulation; s = simulation(10); s.run(); print(s.timeline.digest)"
    folders = (HERE, HERE / "world", HERE / "trouble", HERE.parent, HERE.parents[1])
    environment = os.environ | {"PYTHONHASHSEED": hash_seed, "PYTHONPATH": ":".join(map(str, folders))}
    there = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True)
    here = simulation(10)
    here.run()
    assert there.stdout.strip() == here.timeline.digest


@pytest.mark.parametrize("forgotten", [KeepReply, WriteHead], ids=lambda effect: effect.__name__)
def test_a_disk_that_forgets_is_found_out(forgotten, monkeypatch):
    carry_out = Disk.carry_out
    monkeypatch.setattr(Disk, "carry_out", lambda disk, step: isinstance(step, forgotten) or carry_out(disk, step))
    with pytest.raises(SimulationFailure, match=r"seed 7; what happened last"):
        Simulation(Scenario(), Faults(crash_chance=0.02, crashes=3, downtime=1.0), seed=7).run()


def test_each_peer_keeps_which_records_of_a_disturbed_run_are_well_signed():
    harsh = Simulation(Scenario(), Faults(loss=0.3, crash_chance=0.01, crashes=5, downtime=1.0), seed=1)
    harsh.run()
    (head,) = harsh.server.disk.heads.values()
    records = chain_of(head.head, harsh.server.disk)
    replies = {each.reply for record in records if isinstance(record.body, Collect) for each in taken(record, harsh)}
    assert replies
    for peer in (harsh.server, *harsh.clients):
        assert peer.disk.well_signed >= replies | {record.cid for record in records}


def taken(record, simulation):
    """The replies that a collect takes."""
    return [each for each in answers(record.body, simulation.server.disk) if isinstance(each, TakenReply)]

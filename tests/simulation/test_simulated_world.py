"""The simulated world itself: partitions that let one side hear the other, and clocks that differ."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import pytest
from sim_clock import PeerClock
from sim_disk import Disk
from sim_faults import CALM, Faults
from sim_network import Network
from sim_time import EPOCH, Timeline
from simulation import Scenario, Simulation, undisturbed

from protocol.blocks.cid import MissingBlock, raw_block


def test_in_a_one_way_partition_one_side_hears_and_is_not_heard() -> None:
    timeline, heard = Timeline(), list[tuple[str, bytes]]()
    network = Network(timeline, Random(0), CALM, ("one", "other"))
    disks = {"one": Disk(), "other": Disk()}
    for name, disk in disks.items():
        network.join(name, ("topic",), lambda data, name=name: heard.append((name, data)), disk)
    network._silence(frozenset({"one"}))
    network.publish("one", "topic", b"of one")
    network.publish("other", "topic", b"of other")
    timeline.run(lambda: False, 10.0)
    assert set(heard) == {("one", b"of one"), ("one", b"of other"), ("other", b"of other")}
    block = raw_block(b"a block is asked for, and given")
    disks["other"].put([block])
    with pytest.raises(MissingBlock):
        network.reach("one").get(block.cid)


def test_a_clock_drifts_and_is_set_only_between_two_processes() -> None:
    timeline = Timeline()
    clock = PeerClock(timeline, Random(1), Faults(clock_drift=0.05, clock_jumps=100.0))
    timeline.after(1000.0, lambda: None)
    timeline.run(lambda: timeline.now > EPOCH, 2000.0)
    drifted = clock.now - timeline.now
    assert 0.0 < abs(drifted) <= 50.0
    assert clock.until(clock.now + 10.0) != 10.0
    clock.restart()
    assert clock.now - timeline.now not in (0.0, drifted)


def test_a_run_whose_clocks_differ_and_whose_processes_stand_still_ends_as_the_undisturbed_one() -> None:
    odd_clocks = Faults(one_way=2, partition_length=10.0, clock_drift=0.05, clock_jumps=4000.0)
    rough = Simulation(Scenario(), replace(odd_clocks, standstills=2, standstill_length=20.0), seed=4)
    assert rough.run() == undisturbed(Scenario())

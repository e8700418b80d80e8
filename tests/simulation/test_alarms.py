"""No alarm is late: a machine may skip its checks after what is not for it, and misses nothing."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest
from sim_faults import Faults
from sim_numbers import some
from simulation import Scenario, Simulation

from protocol.roles.machine import Machine


@pytest.mark.parametrize("seed", some(2, of=40))
def test_the_alarm_is_never_later_than_what_is_due(monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    handle, skipped = Machine.handle, 0

    def handled(machine: Machine[Any], event: object, now: float) -> object:
        nonlocal skipped
        effects = handle(machine, event, now)
        soonest = min(machine.moments(), default=None)
        alarm = machine.parts.wake_at
        assert soonest is None or (alarm is not None and alarm <= soonest), f"{event}: {alarm} is after {soonest}"
        skipped += machine._unchanged
        return effects

    monkeypatch.setattr(Machine, "handle", handled)
    random = Random(f"alarms {seed}")
    Simulation(Scenario.draw(random), Faults.draw(random), seed).run()
    assert skipped

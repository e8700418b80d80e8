"""Whatever members say and serve, no machine raises, and none has more under way than it may."""

from __future__ import annotations

import pytest
from hostile_world import MACHINES, World

STEPS = 600


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("name", MACHINES)
def test_hostile_members_neither_break_nor_flood_a_machine(name: str, seed: int) -> None:
    world = World(seed, MACHINES[name])
    for _ in range(STEPS):
        if world.is_over:
            break
        world.step()

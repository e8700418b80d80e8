"""`strategy.hosting.seeds` and `strategy.replay.format`: one seed, one stream of numbers, from every generator."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from collections.abc import Iterator

import numpy as np
import pytest

from protocol.records.environment import Numerics
from strategy.hosting.seeds import seed_generators
from strategy.replay.format import child_environment


@pytest.fixture(autouse=True)
def _generators_as_before() -> Iterator[None]:
    before = random.getstate(), np.random.get_state(), np.random.bit_generator.randbits
    seed, seed_of_all = random.Random.seed, random.seed
    yield
    random.Random.seed, random.seed = seed, seed_of_all  # type: ignore[method-assign]
    random.setstate(before[0])
    np.random.set_state(before[1])
    np.random.bit_generator.randbits = before[2]


DRAWS = {
    "random": lambda: random.random(),
    "random without a seed": lambda: (random.seed(), random.random())[1],  # type: ignore[func-returns-value]
    "Random without a seed": lambda: random.Random().random(),
    "numpy": lambda: float(np.random.rand()),
    "numpy's default_rng": lambda: float(np.random.default_rng().random()),
    "numpy's SeedSequence": lambda: float(np.random.SeedSequence().generate_state(1)[0]),
}


@pytest.mark.parametrize("name", DRAWS)
def test_a_generator_repeats_under_one_seed_and_differs_under_another(name: str) -> None:
    def draw(seed: bytes) -> list[float]:
        seed_generators(seed)
        return [DRAWS[name]() for _ in range(3)]

    first = draw(bytes(32))

    assert draw(bytes(32)) == first
    assert draw(bytes(31) + b"\1") != first
    assert len(set(first)) == 3


def test_torch_repeats_too() -> None:
    torch = pytest.importorskip("torch")
    seed_generators(bytes(32))
    first = torch.rand(3).tolist()
    seed_generators(bytes(32))

    assert torch.rand(3).tolist() == first


def test_the_order_of_a_set_of_strings_is_that_of_the_seed() -> None:
    def order(seed: bytes) -> bytes:
        program = "print(list({'a', 'b', 'c', 'd', 'e', 'f', 'g', 'h'}))"
        environment = {**os.environ, **child_environment(seed, 1, Numerics.NATIVE)}
        return subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, check=True).stdout

    assert order(b"\xff" * 32) == order(b"\xff" * 32)
    assert order(b"\xff" * 32) != order(bytes(32))

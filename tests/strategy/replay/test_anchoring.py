"""Another machine than the recorded one accuses no honest server, and lets no cheat pass that is more than rounding.

The other machine is simulated: each number that a strategy of Flower's makes is moved to one of its neighbours, or
stays. Real ones, emulated: `test_other_processors.py`.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cheating_server import CHEATS, a_server_that_cheats, untouched
from flwr.app import Array, ArrayRecord, ConfigRecord
from flwr.serverapp import strategy as flower
from recorded_app import RecordedApp, run_of

from protocol.app.calls import DispatchEntry, Diverged, Finished
from protocol.replay.differences import Cause, Outcome, judged

STRATEGIES = sorted(set(flower.__all__) - {"Result", "Strategy"})
EXACT = {"FedXgbBagging", "FedXgbCyclic"}
"""They make no numbers."""


@contextmanager
def another_machine(seed: int = 1) -> Iterator[None]:
    """Where Flower's strategies round in another way."""
    draw = np.random.default_rng(seed)

    def nudged(value: Any) -> Array:
        if not isinstance(value, np.ndarray) or value.dtype.kind != "f":
            return Array(value)
        towards = draw.choice([-np.inf, np.inf], value.shape).astype(value.dtype)
        moved = np.where(draw.random(value.shape) < 0.5, np.nextafter(value, towards), value)
        return Array(np.asarray(moved, value.dtype))

    modules = [module for name, module in sys.modules.items() if name.startswith("flwr.serverapp.strategy.")]
    patched = [module for module in modules if getattr(module, "Array", None) is Array]
    for module in patched:
        vars(module)["Array"] = nudged
    try:
        yield
    finally:
        for module in patched:
            vars(module)["Array"] = Array


@pytest.mark.parametrize(
    "strategy",
    [pytest.param(name, marks=[] if number % 6 == 2 else [pytest.mark.all]) for number, name in enumerate(STRATEGIES)],
)
def test_an_honest_run_of_another_machine_is_never_accused(strategy: str, tmp_path: Path) -> None:
    recorded = run_of(strategy, tmp_path)
    with another_machine():
        ending, pipe = recorded.replay(may_differ=Cause.ROUNDING)

    assert isinstance(ending, Finished), ending
    dispatches = [entry for entry in recorded.entries if isinstance(entry, DispatchEntry)]
    assert pipe.compared == sum(len(entry.messages) for entry in dispatches)
    assert bool(pipe.differences) == (strategy not in EXACT)
    for compared in pipe.differences:
        found = compared.difference
        assert found is not None
        assert found.of_bound is not None, found.unbounded
        assert 0 < found.of_bound <= 1, (compared.height, found)


# -- cheats --------------------------------------------------------------------------------------------------------


WEIGHTED = ["FedAvg", "FedProx", "FedAvgM", "FedAdam", "FedYogi", "FedAdagrad", "QFedAvg"]


def assert_beyond(recorded: RecordedApp) -> None:
    """The cheat is beyond what any machine causes, here and on another one."""
    for seed in (None, 1):
        with another_machine(seed) if seed else nullcontext():
            ending, _ = recorded.replay(may_differ=Cause.ROUNDING)
        assert isinstance(ending, Diverged), ending
        assert judged(ending.difference, Cause.ROUNDING, flowers_own=ending.flowers_own) is Outcome.BEYOND
        rounds = [entry for entry in recorded.entries if isinstance(entry, DispatchEntry)]
        assert ending.height == rounds[3].head.height  # train, evaluate, train, and the evaluation after round 2


@pytest.mark.parametrize(
    "strategy",
    [
        pytest.param(name, marks=[] if number % 6 == 1 else [pytest.mark.all])
        for number, name in enumerate(STRATEGIES)
        if name not in EXACT
    ],
)
def test_a_tensor_that_is_scaled_is_beyond_any_machine(strategy: str, tmp_path: Path) -> None:
    with a_server_that_cheats(strategy, untouched, 1.001):
        recorded = run_of(strategy, tmp_path)
    assert_beyond(recorded)


@pytest.mark.parametrize(
    ("cheat", "strategy"),
    [
        pytest.param(cheat, name, marks=[] if at == place else [pytest.mark.all])
        for at, cheat in enumerate(CHEATS)
        for place, name in enumerate(WEIGHTED)
    ],
)
def test_a_reply_that_is_left_out_swapped_or_used_again_is_beyond_any_machine(
    cheat: str, strategy: str, tmp_path: Path
) -> None:
    with a_server_that_cheats(strategy, CHEATS[cheat]):
        recorded = run_of(strategy, tmp_path)
    assert_beyond(recorded)


# -- settings ------------------------------------------------------------------------------------------------------


@contextmanager
def an_app_that_sets(since: int, **settings: Any) -> Iterator[None]:
    """After round ``since``, in its own code."""

    def start(self: flower.Strategy, *args: Any, **options: Any) -> flower.Result:
        config = ConfigRecord()

        def evaluated(number: int, _: ArrayRecord) -> None:
            config.update(settings if number >= since else {})

        return flower.Strategy.start(self, *args, **{**options, "train_config": config, "evaluate_fn": evaluated})

    flower.FedAvg.start = start  # type: ignore[method-assign]
    try:
        yield
    finally:
        del flower.FedAvg.start


@pytest.mark.parametrize(
    ("recorded", "here"),
    [
        pytest.param({"lr": 0.1}, {"lr": 0.2}, id="a number"),
        pytest.param({"epochs": 3}, {"epochs": 4}, id="a whole number"),
        pytest.param({"note": "0.1"}, {"note": "0.2"}, id="a number as text"),
        pytest.param({"lr": 0.1}, {"rate": 0.1}, id="a name"),
    ],
)
@pytest.mark.parametrize("since", [0, 1])
def test_a_setting_that_an_app_computes_from_numbers_accuses_nobody(
    recorded: dict[str, Any], here: dict[str, Any], since: int, tmp_path: Path
) -> None:
    with an_app_that_sets(since, **recorded):
        run = run_of("FedAvg", tmp_path, rounds=2)
    with an_app_that_sets(since, **here):
        ending, pipe = run.replay(may_differ=Cause.ROUNDING)

    assert isinstance(ending, Finished), ending  # the replay goes on with what is recorded
    assert {judged(each.difference, Cause.ROUNDING, flowers_own=False) for each in pipe.differences} == {
        Outcome.UNDECIDED
    }


def test_a_setting_hides_no_cheat(tmp_path: Path) -> None:
    with a_server_that_cheats("FedAvg", untouched, 1.001), an_app_that_sets(0, note="1"):
        recorded = run_of("FedAvg", tmp_path)
    with an_app_that_sets(0, note="2"):
        assert_beyond(recorded)

"""An app's own code that has a part in what Flower's makes: whatever it does by a number, its server is not accused."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from flwr.app import ArrayRecord, Message
from flwr.serverapp import strategy as flower
from flwr.serverapp.strategy import fedavg
from recorded_app import RecordedApp, recorded_app

from protocol.app.calls import Diverged
from protocol.replay.differences import Cause, Outcome, judged
from strategy.replay.own_code import ANOTHER_GRID, IN_REACH, LATER, OWN, FlowersCode, Part

Machine = Callable[[str], AbstractContextManager[None]]

MODES = [
    "model",
    "bytes",
    "step",
    "noise",
    "sampling",
    "stop",
    "train metrics",
    "evaluate metrics",
    "grid",
    "shadow",
    "patched function",
    "patched class",
    "subclass",
    "property",
    "used twice",
    "two strategies",
    "one more",
    "ask",
]
"""Ways of the app `every_strategy` to be steered."""
SAMPLE = {
    ("there", "model"),
    ("there", "step"),
    ("here", "sampling"),
    ("there", "patched function"),
    ("there", "used twice"),
    ("there", "ask"),
}
NUMBERS = {"there": ("1.5", "1"), "here": ("1", "1.5")}
"""On which machine the app's code has a part in what is sent."""


class Checkpointing(flower.FedAvg):
    """What it makes of replies is an app's."""

    def aggregate_train(self, server_round: int, replies: list[Message]):  # type: ignore[no-untyped-def]
        return super().aggregate_train(server_round, replies)


class Quiet(flower.FedAvg):
    """An app's, and Flower's code makes the model."""

    def summary(self) -> None:
        """Say nothing."""


class Steered(flower.FedAvg):
    """An app's code decides what is sent."""

    def configure_train(self, *args, **kwargs):  # type: ignore[no-untyped-def]
        return super().configure_train(*args, **kwargs)


class Keeper:
    """An app's object, that evaluates."""

    def __init__(self, kept: object) -> None:
        self.kept = [kept]

    def evaluate(self, number: int, arrays: ArrayRecord) -> None:
        """Nothing."""


class ItsGrid:
    """The Grid that the app is given."""


GRID = ItsGrid()


def part(strategy: object, evaluate: object = None, grid: object = GRID, *, is_first: bool = True) -> Part:
    """The part of the app in this folder."""
    code = FlowersCode(GRID, Path(__file__).parent)
    return code.part(strategy, {"grid": grid, "evaluate_fn": evaluate, "num_rounds": 3}, is_first=is_first)


def in_noise(strategy: flower.Strategy) -> flower.Strategy:
    return flower.DifferentialPrivacyServerSideFixedClipping(strategy, 1.0, 1.0, 2)


def called_with(value: object) -> Callable[..., object]:
    return lambda *_: value


@pytest.mark.parametrize("strategy", [flower.FedAdam(), Quiet(), in_noise(flower.FedAvg())])
def test_flowers_own_code_is_alone_without_the_apps(strategy: flower.Strategy) -> None:
    assert part(strategy) == Part()


@pytest.mark.parametrize(
    "strategy", [Checkpointing(), Steered(), in_noise(Checkpointing()), flower.FedAdam(eta=Keeper)]
)  # type: ignore[arg-type]
def test_a_strategy_with_code_of_the_apps_is_the_apps(strategy: flower.Strategy) -> None:
    assert part(strategy).why == OWN


@pytest.mark.parametrize(
    "evaluate",
    [
        pytest.param(called_with, id="function"),
        pytest.param(lambda strategy: partial(print, strategy), id="partial"),
        pytest.param(lambda strategy: Keeper({"it": strategy}).evaluate, id="object"),
        pytest.param(lambda strategy: called_with(strategy.aggregate_train), id="its method"),
    ],
)
@pytest.mark.parametrize("has_noise", [False, True])
def test_a_callback_may_change_a_strategy_that_it_can_get_at(
    evaluate: Callable[[flower.Strategy], object], has_noise: bool
) -> None:
    strategy = flower.FedAvg()

    assert part(in_noise(strategy) if has_noise else strategy, evaluate(strategy)).why == IN_REACH


def test_a_callback_has_the_model_and_runs_but_has_no_strategy_by_having_the_grid() -> None:
    assert part(flower.FedAvg(), Keeper([GRID, np.zeros(3), flower]).evaluate) == Part(runs=True, has_model=True)


PACKAGE = """
KEPT = {}
def keep(strategy):
    KEPT["it"] = strategy
def slow_down(*_):
    for strategy in KEPT.values():
        strategy.eta *= 0.5
"""
CALLS_IT = "import an_installed_package\ndef evaluate(*_):\n    an_installed_package.slow_down()"


@pytest.mark.parametrize("source", [CALLS_IT, PACKAGE.replace("slow_down", "evaluate")], ids=["calls it", "is in it"])
@pytest.mark.parametrize("keeps", [True, False])
def test_a_strategy_may_be_kept_in_a_package_that_the_app_imports(
    source: str, keeps: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    code, strategy = FlowersCode(GRID, Path(__file__).parent), flower.FedAdam()
    package, caller = ModuleType("an_installed_package"), ModuleType("caller")
    for module, text in ((package, PACKAGE), (caller, source)):
        monkeypatch.setitem(sys.modules, module.__name__, module)
        exec(text, vars(module))

    if keeps:
        (package if source is CALLS_IT else caller).keep(strategy)
    found = code.part(strategy, {"grid": GRID, "evaluate_fn": caller.evaluate}, is_first=True)

    assert found.why == (IN_REACH if keeps else "")


def test_a_thread_may_change_a_strategy_that_it_can_get_at() -> None:
    strategy, over = flower.FedAvg(), threading.Event()
    code = FlowersCode(GRID, Path(__file__).parent)
    thread = threading.Thread(target=lambda: over.wait() and strategy)
    thread.start()
    try:
        assert code.part(strategy, {"grid": GRID}, is_first=True) == Part(IN_REACH, runs=True)
    finally:
        over.set()
        thread.join()


def test_a_strategy_that_is_started_after_clients_were_asked_may_be_set_by_that() -> None:
    assert part(flower.FedAvg(), is_first=False).why == LATER


def test_another_grid_than_the_given_one_is_the_apps() -> None:
    assert part(flower.FedAvg(), grid=ItsGrid()).why == ANOTHER_GRID


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    """Another machine for each run of an app: with a number of its own, and with Flower as it is installed."""

    @contextmanager
    def machine(number: str) -> Iterator[None]:
        with monkeypatch.context() as own:
            own.setenv("STEER", number)
            own.setattr(fedavg, "aggregate_arrayrecords", fedavg.aggregate_arrayrecords)
            own.setattr(flower.FedAvg, "aggregate_train", flower.FedAvg.aggregate_train)
            yield

    return machine


def outcomes(run: RecordedApp) -> set[Outcome]:
    """What its exchanges come to, replayed on another machine."""
    ending, pipe = run.replay(may_differ=Cause.ROUNDING)
    found = {judged(each.difference, Cause.ROUNDING, flowers_own=False) for each in pipe.differences}
    if isinstance(ending, Diverged):
        found.add(judged(ending.difference, Cause.ROUNDING, flowers_own=ending.flowers_own))
    return found


@pytest.mark.parametrize(
    ("where", "mode"),
    [
        pytest.param(where, mode, marks=[] if (where, mode) in SAMPLE else [pytest.mark.all])
        for where in NUMBERS
        for mode in MODES
    ],
)
def test_what_an_app_decides_by_a_number_accuses_nobody(
    where: str, mode: str, tmp_path: Path, machine: Machine
) -> None:
    there, here = NUMBERS[where]
    with machine(there):
        run = recorded_app("every_strategy", tmp_path, f'steering="{mode}"', clients=3)

    with machine(here):
        assert outcomes(run) == {Outcome.UNDECIDED}


def test_the_final_model_is_the_one_that_start_returned_whatever_the_app_does_with_it(
    tmp_path: Path, machine: Machine
) -> None:
    with machine("1.5"):
        run = recorded_app("every_strategy", tmp_path, 'steering="final model"', clients=3)

    with machine("1"):
        assert outcomes(run) == set()

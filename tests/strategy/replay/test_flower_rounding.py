"""Bounds hold, and are tight: what a server could gain below them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord
from flwr.serverapp import strategy as flower
from flwr.serverapp.strategy.bulyan import aggregate_n_closest_weights
from numpy.typing import NDArray
from recorded_app import run_of

from protocol.replay.differences import Cause
from strategy.contents.npy import opened
from strategy.replay import anchoring
from strategy.replay.flower_rounding import FlowerRounding, HeldReply
from strategy.replay.rounding import Rounded, gamma, total, weighted_mean

STRATEGIES = sorted(set(flower.__all__) - {"Result", "Strategy", "FedXgbBagging", "FedXgbCyclic"})
SINGLE = 2.0**-24
Numbers = NDArray[np.float32]


def computed(formula: Callable[..., Numbers], *inputs: Numbers) -> tuple[NDArray[np.float64], Rounded]:
    """A formula in single precision, as far from the exact result as it is; and the same on `Rounded` numbers."""
    exact = formula(*(each.astype(np.longdouble) for each in inputs))
    return np.abs(formula(*inputs).astype(np.longdouble) - exact).astype(float), formula(  # type: ignore[return-value]
        *(Rounded.exactly(each, SINGLE) for each in inputs)
    )


def root(numbers: Numbers | Rounded) -> Numbers | Rounded:
    return numbers.root() if isinstance(numbers, Rounded) else np.sqrt(numbers)


@pytest.mark.parametrize(
    "formula",
    [
        pytest.param(lambda a, b: a + b, id="sum"),
        pytest.param(lambda a, b: (a - b) * (a - b), id="square of a difference"),
        pytest.param(lambda a, b: (a - b) / (a + a * b), id="quotient"),
        pytest.param(lambda a, b: root((a - b) * (a - b) * b * b), id="root"),
        pytest.param(lambda a, b: (a * b - b * b) / (root(a * a) + root(b * b)), id="as Adam divides"),
    ],
)
def test_no_number_is_further_from_the_exact_one_than_its_error(formula: Callable[..., Numbers]) -> None:
    draw = np.random.default_rng(7)
    a, b = (draw.normal(size=20_000).astype(np.float32) for _ in range(2))

    apart, rounded = computed(formula, a, b)

    assert np.all(apart <= rounded.error)
    assert np.max(apart / rounded.error) > 0.3  # and it is not much closer


def test_a_sum_is_within_its_bound_in_whichever_order() -> None:
    draw = np.random.default_rng(7)
    terms = draw.normal(size=(50, 1000)).astype(np.float32)
    found = total([Rounded.exactly(term, SINGLE) for term in terms], SINGLE)
    for order in (np.arange(50), np.argsort(terms[:, 0]), draw.permutation(50)):
        summed = np.zeros(1000, np.float32)
        for at in order:
            summed += terms[at]
        assert np.all(np.abs(summed - found.value) <= found.error)


@pytest.mark.parametrize("strategy", [name for name in STRATEGIES if "Privacy" not in name and name != "QFedAvg"])
def test_numbers_that_may_overflow_on_one_machine_alone_have_no_bound(strategy: str) -> None:
    largest = np.finfo(np.float32).max

    def reply(value: float) -> HeldReply:
        return HeldReply({"w": Array(np.full(3, value, np.float32))}, {"num-examples": 10})

    replies = [reply(sign * largest) for sign in (1, -1, 1, -1, 1, -1, 1)]
    sent = {"w": Array(np.zeros(3, np.float32))}

    model = FlowerRounding(getattr(flower, strategy)()).model(1, replies, sent, 1.0)

    with np.errstate(all="ignore"):
        assert not np.any(np.isfinite(model("w").error))


def test_a_mean_by_weights_is_within_its_bound() -> None:
    draw = np.random.default_rng(7)
    terms, weights = draw.normal(size=(9, 1000)).astype(np.float32), [float(10 + at) for at in range(9)]
    found = weighted_mean([Rounded.exactly(term, SINGLE) for term in terms], weights, SINGLE)

    mean = sum(term * (weight / sum(weights)) for term, weight in zip(terms, weights, strict=True))

    assert np.all(np.abs(mean - found.value) <= found.error)
    assert np.all(found.error <= 2 * gamma(len(terms) + 2, SINGLE) * np.abs(terms).max(axis=0))


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=[] if name == "FedAdam" else [pytest.mark.all]) for name in STRATEGIES],
)
def test_a_cheat_below_the_bound_gains_next_to_nothing(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a tensor in single precision: less than 1e-5 of it a round, and less than a thousandth of what the round
    changes. Bulyan leaves more, if two clients are equally far from the median."""
    of_model, of_update = [], []
    settle = anchoring._Watched.settle

    def measuring(watched: anchoring._Watched, arrays: ArrayRecord) -> None:
        bound = watched.bounds().tensor("w")
        if watched.sent is not None and isinstance(bound, np.ndarray):
            now, before = opened(arrays["w"]), opened(watched.sent["w"])
            of_model.append(np.linalg.norm(bound) / np.linalg.norm(now))
            of_update.append(np.linalg.norm(bound) / np.linalg.norm(now - before))
        settle(watched, arrays)

    monkeypatch.setattr(anchoring._Watched, "settle", measuring)
    run_of(name, tmp_path).replay(may_differ=Cause.ROUNDING)

    assert len(of_model) == 3
    assert max(of_model) < (1e-2 if name == "Bulyan" else 1e-5)
    assert max(of_update) < (1e-1 if name == "Bulyan" else 1e-3)


def test_a_sum_that_loses_all_small_terms_is_within_its_bound() -> None:
    terms = [np.asarray([1.0], np.float32), *[np.asarray([0.99 * SINGLE], np.float32)] * 49]
    found = total([Rounded.exactly(term, SINGLE) for term in terms], SINGLE)

    summed = terms[0]
    for term in terms[1:]:
        summed = summed + term

    assert np.abs(summed - found.value) > 0.9 * found.error
    assert np.abs(summed - found.value) <= found.error


def test_two_clients_that_are_equally_far_from_the_median_may_be_taken_for_each_other() -> None:
    values = [0.0, 2.5, 3.0, 6.0, 10.0, 1000.0, -1000.0]  # of which Bulyan takes the first five, and of these three
    replies = [HeldReply({"w": Array(np.asarray([value]))}, {"num-examples": 1}) for value in values]
    taken = [[np.asarray([value])] for value in values[:5]]
    both = [aggregate_n_closest_weights([np.asarray([3.0])], stack, 3)[0] for stack in (taken, taken[::-1])]

    bulyan = FlowerRounding(flower.Bulyan(num_malicious_nodes=1))
    found = bulyan.model(1, replies, {"w": Array(np.asarray([0.0]))}, 0.0)("w")

    assert abs(both[0] - both[1]) > 1
    assert abs(both[0] - both[1]) <= 2 * found.error


def test_any_client_whose_score_is_within_its_rounding_may_be_selected() -> None:
    values = [1.0, 1.0 + 2**-20, 5.0, 9.0, 20.0]  # the first two are each other's nearest
    replies = [HeldReply({"w": Array(np.asarray([value], np.float32))}, {"num-examples": 1}) for value in values]

    krum = FlowerRounding(flower.Krum(num_malicious_nodes=2))
    found = krum.model(1, replies, {"w": Array(np.asarray([0.0], np.float32))}, 0.0)("w")

    assert abs(values[0] - values[1]) <= 2 * found.error < 1e-5

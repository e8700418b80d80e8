"""The built-in app at work, over an in-memory Grid."""

from __future__ import annotations

import numpy as np
import pytest
from in_memory_federation import Outcome, bits, run_config, run_federation

from strategy.builtin.pollen_app.client_app import app as client
from strategy.builtin.pollen_app.names import Partitioner, StrategyName
from strategy.builtin.pollen_app.server_app import app as server
from strategy.builtin.pollen_app.strategies import build_strategy

STRATEGIES = [name.value for name in StrategyName]


def run(**settings: object) -> Outcome:
    """The smallest run: two rounds, the smallest model, one pass over the data."""
    return run_federation(
        server, client, **{"model": "mlp", "local_epochs": 1, "num_server_rounds": 2, "batch_size": 64, **settings}
    )


@pytest.mark.parametrize(
    "model", ["mlp", *(pytest.param(name, marks=pytest.mark.all) for name in ("cnn", "custom_cnn"))]
)
def test_digits_reach_nine_tenths_in_the_demo(model: str) -> None:
    outcome = run_federation(server, client, model=model)
    assert outcome.errors == []
    assert outcome.accuracy >= 0.9


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_every_strategy_trains(strategy: str) -> None:
    outcome = run(strategy=strategy)
    first, *_, last = outcome.models
    assert outcome.errors == []
    assert len(outcome.evaluations) == 2
    assert bits(last) != bits(first)


@pytest.mark.parametrize("partitioner", [name.value for name in Partitioner])
def test_every_partitioner_feeds_a_run(partitioner: str) -> None:
    outcome = run(partitioner=partitioner, num_server_rounds=1)
    assert outcome.errors == []
    assert len(outcome.evaluations[0]) == 3


def test_one_seed_is_one_model() -> None:
    assert bits(run(seed=7).models[-1]) == bits(run(seed=7).models[-1])


def test_another_seed_is_another_model() -> None:
    assert bits(run(seed=7).models[-1]) != bits(run(seed=8).models[-1])


def test_central_evaluation_leaves_the_model_alone() -> None:
    assert bits(run(central_evaluation=True).models[-1]) == bits(run().models[-1])


def test_clients_report_accuracy_loss_and_how_many_examples() -> None:
    assert set(run().evaluations[0][0]) == {"accuracy", "loss", "num-examples"}


def test_private_strategies_count_every_client_alike() -> None:
    """Shares of very unlike size; each weighs 1."""
    outcome = run(strategy="dp-server-fixed", partitioner="square")
    sizes = {metrics["num-examples"] for metrics in outcome.evaluations[0]}
    assert len(sizes) == 3
    assert {metrics["equal-weight"] for metrics in outcome.evaluations[0]} == {1.0}


@pytest.mark.parametrize("strategy", [name for name in STRATEGIES if name.startswith("dp-")])
def test_private_strategies_bound_what_a_round_changes(strategy: str) -> None:
    """Without noise, so that clipping alone is seen."""
    outcome = run(strategy=strategy, noise_multiplier=0.0, clipping_norm=0.01, initial_clipping_norm=0.01)
    before, after = (np.concatenate([a.ravel() for a in m.to_numpy_ndarrays()]) for m in outcome.models[:2])
    assert 0.005 < np.linalg.norm(after - before) <= 0.0101


def test_private_strategies_average_without_weights() -> None:
    strategy = build_strategy("dp-server-fixed", run_config())
    assert strategy.strategy.weighted_by_key == "equal-weight"


def test_proximal_term_reaches_the_clients() -> None:
    near, far = (run(strategy="fedprox", proximal_mu=mu) for mu in (10.0, 0.0))
    assert bits(near.models[-1]) != bits(far.models[-1])


def test_node_config_overrides_the_batch_size() -> None:
    assert bits(run(node={"batch-size": 8}).models[-1]) == bits(run(batch_size=8).models[-1])


@pytest.mark.parametrize(
    ("node", "fix"),
    [
        ({"dataset": "mnist"}, "start it again with --dataset digits"),
        ({"partition-id": 5}, "fix --node-config"),
        ({"partition-id": "0"}, "partition-id is '0'; it must be a whole number"),
        ({"num-partitions": 1438}, "use fewer partitions"),
    ],
)
def test_misplaced_client_is_an_error_reply_with_the_fix(node: dict[str, int | str], fix: str) -> None:
    outcome = run(node=node)
    assert fix in outcome.errors[0]


def test_unknown_strategy_ends_the_run_before_a_round() -> None:
    with pytest.raises(ValueError, match="--strategy among fedavg"):
        run(strategy="fedfoo")

"""The built-in app's settings: what a run config, the server's word, can and cannot make a machine do."""

from __future__ import annotations

from functools import partial

import pytest
from in_memory_federation import run_config

from strategy.builtin.pollen_app.names import StrategyName
from strategy.builtin.pollen_app.settings import Config, client_settings, learning_rate, server_settings
from strategy.builtin.pollen_app.strategies import build_strategy

PART = {"partition-id": 0, "num-partitions": 3}


def test_node_config_says_where_the_data_is() -> None:
    settings = client_settings(run_config(), {**PART, "data-dir": "/node"})
    assert settings.share.data_dir == "/node"


def test_no_folder_and_no_device_is_taken_from_the_run_config() -> None:
    run = {**run_config(), "data-dir": "/run", "device": "cuda"}
    settings = client_settings(run, PART)
    assert (settings.share.data_dir, settings.device) == ("", "cpu")
    assert server_settings(run, {}).data_dir == ""


def test_a_model_class_counts_only_if_the_node_config_names_it() -> None:
    run = run_config(model="my_models:WideNet")
    for read in (client_settings, server_settings):
        with pytest.raises(ValueError, match=r"only if its owner names it; .* --model my_models:WideNet"):
            read(run, PART)
        with pytest.raises(ValueError, match="this peer was started for my_models:Other"):
            read(run, {**PART, "model": "my_models:Other"})
        assert read(run, {**PART, "model": "my_models:WideNet"}).model == "my_models:WideNet"


def test_an_owner_that_names_a_model_trains_no_other() -> None:
    with pytest.raises(ValueError, match="the run's model is cnn, and this peer was started for mlp"):
        client_settings(run_config(model="cnn"), {**PART, "model": "mlp"})


HOSTILE = [
    True,
    None,
    b"",
    "",
    "../x",
    [],
    float("nan"),
    float("inf"),
    -1,
    -0.5,
    10**400,
    1e300,
    "os:system",
    ".:x",
    "x" * 10_000,
]


def build(run: Config) -> None:
    for name in StrategyName:
        build_strategy(name.value, run)


@pytest.mark.parametrize("key", sorted(run_config()))
def test_a_hostile_value_is_refused_with_a_short_reason_if_it_is_refused(key: str) -> None:
    reasons = []
    for value in HOSTILE:
        run = {**run_config(), key: value}
        for read in (partial(client_settings, run, PART), partial(server_settings, run, {}), partial(build, run)):
            try:
                read()
            except ValueError as error:
                reasons.append(str(error))
    assert [reason for reason in reasons if len(reason) > 600] == []


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("local-epochs", 1_001),
        ("batch-size", 2**20 + 1),
        ("momentum", float("inf")),
        ("momentum", float("nan")),
        ("momentum", 1.0),
        ("partition-seed", 2**63),
        ("dirichlet-alpha", 1e300),
        ("shards-per-partition", 10**9),
        ("classes-per-partition", 10**9),
        ("local-epochs", "3"),
        ("batch-size", True),
    ],
)
def test_a_setting_out_of_bounds_is_named(key: str, value: object) -> None:
    with pytest.raises(ValueError, match=f"the setting {key} is ") as caught:
        client_settings({**run_config(), key: value}, PART)
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize("lr", [float("inf"), float("nan"), -0.1, "0.1"])
def test_a_learning_rate_is_finite(lr: object) -> None:
    with pytest.raises(ValueError, match="the setting lr is "):
        learning_rate({"lr": lr})


def test_a_number_too_long_to_be_written_out_is_refused_too() -> None:
    with pytest.raises(ValueError, match="the setting local-epochs is a number of 16610 bits"):
        client_settings({**run_config(), "local-epochs": 10**5000}, PART)


def test_a_run_config_sets_no_other_parameter_of_a_strategy() -> None:
    hostile = {**run_config(), "weighted-by-key": "x", "train-metrics-aggr-fn": "os:system"}
    ours, plain = vars(build_strategy("fedavg", hostile)), vars(build_strategy("fedavg", run_config()))
    assert {key: value for key, value in ours.items() if value != plain[key]} == {}

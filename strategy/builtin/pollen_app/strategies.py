"""Flower's strategies by name, their options taken from the run config by the names of their own parameters."""

from __future__ import annotations

import inspect
from typing import Any

from flwr.serverapp import strategy as flower
from flwr.serverapp.strategy import Strategy

from .names import StrategyName, choose
from .settings import MAX_CLIENTS, MAX_FACTOR, Config, learning_rate, momentum, real, whole

EQUAL_WEIGHT = "equal-weight"
"""The metric that private strategies weight clients by: their noise is right only if no client counts for more."""

_REAL_OPTIONS = {
    "fraction-train": 1.0,
    "fraction-evaluate": 1.0,
    "proximal-mu": MAX_FACTOR,
    "server-learning-rate": MAX_FACTOR,
    "server-momentum": 1.0,
    "eta": MAX_FACTOR,
    "tau": MAX_FACTOR,
    "beta-1": 1.0,
    "beta-2": 1.0,
    "beta": 1.0,
    "q": MAX_FACTOR,
    "noise-multiplier": MAX_FACTOR,
    "clipping-norm": MAX_FACTOR,
    "initial-clipping-norm": MAX_FACTOR,
    "target-clipped-quantile": 1.0,
    "clip-norm-lr": MAX_FACTOR,
}
"""The options of strategies, and the most that each may be. The least is 0."""

_WHOLE_OPTIONS = {"num-malicious-nodes": 0, "num-nodes-to-select": 1}
"""The options that are whole numbers, and the least that each may be."""

_CLASSES: dict[StrategyName, type[Strategy]] = {
    StrategyName.FEDAVG: flower.FedAvg,
    StrategyName.FEDPROX: flower.FedProx,
    StrategyName.FEDAVGM: flower.FedAvgM,
    StrategyName.FEDADAM: flower.FedAdam,
    StrategyName.FEDYOGI: flower.FedYogi,
    StrategyName.FEDADAGRAD: flower.FedAdagrad,
    StrategyName.QFEDAVG: flower.QFedAvg,
    StrategyName.FEDMEDIAN: flower.FedMedian,
    StrategyName.FEDTRIMMEDAVG: flower.FedTrimmedAvg,
    StrategyName.KRUM: flower.Krum,
    StrategyName.MULTIKRUM: flower.MultiKrum,
    StrategyName.BULYAN: flower.Bulyan,
    StrategyName.DP_SERVER_FIXED: flower.DifferentialPrivacyServerSideFixedClipping,
    StrategyName.DP_SERVER_ADAPTIVE: flower.DifferentialPrivacyServerSideAdaptiveClipping,
    StrategyName.DP_CLIENT_FIXED: flower.DifferentialPrivacyClientSideFixedClipping,
    StrategyName.DP_CLIENT_ADAPTIVE: flower.DifferentialPrivacyClientSideAdaptiveClipping,
}


def build_strategy(name: str, run: Config) -> Strategy:
    """The strategy called ``name``; a private one is wrapped around FedAvg.

    Raises:
        ValueError: if the name is unknown, an option is out of range, or Flower refuses it.
    """
    chosen = choose(StrategyName, name)
    clients = whole(run, "min-clients", least=1, most=MAX_CLIENTS)
    options: dict[str, Any] = {
        **_options(run),
        "min_available_nodes": clients,
        "min_train_nodes": clients,
        "min_evaluate_nodes": clients,
        "client_learning_rate": learning_rate(run) / (1 - momentum(run)),  # what a step comes to in the end
        "num_sampled_clients": clients,
    }
    if chosen.is_private:
        options["strategy"] = _make(flower.FedAvg, {**options, "weighted_by_key": EQUAL_WEIGHT})
    return _make(_CLASSES[chosen], options)


def _options(run: Config) -> dict[str, float]:
    """The strategies' options that a run sets, by the names of Flower's parameters; no other parameter is set."""
    reals = {key: real(run, key, least=0.0, most=most) for key, most in _REAL_OPTIONS.items() if key in run}
    wholes = {key: whole(run, key, least=n, most=MAX_CLIENTS) for key, n in _WHOLE_OPTIONS.items() if key in run}
    return {key.replace("-", "_"): value for key, value in {**reals, **wholes}.items()}


def _make(kind: type[Strategy], options: dict[str, Any]) -> Strategy:
    parameters = inspect.signature(kind).parameters
    return kind(**{name: value for name, value in options.items() if name in parameters})

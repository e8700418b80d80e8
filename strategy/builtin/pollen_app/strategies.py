"""Flower's strategies by name, their options taken from the run config by the names of their own parameters."""

from __future__ import annotations

import inspect
from typing import Any

from flwr.serverapp import strategy as flower
from flwr.serverapp.strategy import Strategy

from .names import StrategyName, choose
from .settings import Config, momentum, real, whole

EQUAL_WEIGHT = "equal-weight"
"""The metric that private strategies weigh clients by: their noise is right only if no client counts for more."""

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
        ValueError: the name is unknown, or Flower refuses an option.
    """
    chosen = choose(StrategyName, name)
    clients = whole(run, "min-clients", least=1)
    options: dict[str, Any] = {
        **{key.replace("-", "_"): value for key, value in run.items()},
        "min_available_nodes": clients,
        "min_train_nodes": clients,
        "min_evaluate_nodes": clients,
        "client_learning_rate": real(run, "lr", least=0.0) / (1 - momentum(run)),  # what a step comes to in the end
        "num_sampled_clients": clients,
    }
    if chosen.is_private:
        options["strategy"] = _make(flower.FedAvg, {**options, "weighted_by_key": EQUAL_WEIGHT})
    return _make(_CLASSES[chosen], options)


def _make(kind: type[Strategy], options: dict[str, Any]) -> Strategy:
    parameters = inspect.signature(kind).parameters
    return kind(**{name: value for name, value in options.items() if name in parameters})

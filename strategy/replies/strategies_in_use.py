"""The rule of the strategy in use, learnt from its object (`protocol.replies.strategy_rule.StrategyRule`).

A method counts as Flower's if Flower defines it, or if the app's own passes its replies on to Flower's. About any other
method only its weights are known, and that its replies are of one kind.
"""

from __future__ import annotations

import inspect
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Final

from flwr.serverapp import strategy as newer

from protocol.replies.checks_and_limits import is_update
from protocol.replies.reply_layout import Likeness
from protocol.replies.strategy_rule import Arrays, StrategyRule
from strategy.flower_compat import (
    GET_PARAMETERS,
    NORM_BIT,
    FedOpt,
    OlderFedAvg,
    OlderStrategy,
    aggregate_metricrecords,
    older_strategies,
)

EVALUATE: Final = "evaluate"
"""The Flower message type of an evaluation."""

_WEIGHT: Final = "num-examples"
"""The metric that Flower's strategies weight by, unless they are told otherwise."""

_SERVER_SIDE_PRIVACY: Final = (
    newer.DifferentialPrivacyServerSideFixedClipping,
    newer.DifferentialPrivacyServerSideAdaptiveClipping,
)
_CLIENT_SIDE_PRIVACY: Final = (
    newer.DifferentialPrivacyClientSideFixedClipping,
    newer.DifferentialPrivacyClientSideAdaptiveClipping,
)
_OLDER_PRIVACY: Final = (
    older_strategies.DifferentialPrivacyServerSideFixedClipping,
    older_strategies.DifferentialPrivacyServerSideAdaptiveClipping,
    older_strategies.DifferentialPrivacyClientSideFixedClipping,
    older_strategies.DifferentialPrivacyClientSideAdaptiveClipping,
    older_strategies.DPFedAvgFixed,
)
_OLDER_STACKS: Final = (
    older_strategies.FedMedian,
    older_strategies.FedTrimmedAvg,
    older_strategies.Krum,
    older_strategies.Bulyan,
)


class StrategiesInUse:
    """The strategy that each thread of an app runs at the moment."""

    def __init__(self) -> None:
        self._local = threading.local()

    @contextmanager
    def using(self, strategy: object) -> Iterator[None]:
        """Note that this thread runs ``strategy`` while inside."""
        before = getattr(self._local, "strategy", None)
        self._local.strategy = strategy
        try:
            yield
        finally:
            self._local.strategy = before

    def rule(self, message_type: str) -> StrategyRule | None:
        """The rule of this thread's strategy for answers to messages of this type; None if the thread runs no strategy,
        or the type is not the strategy's."""
        strategy = getattr(self._local, "strategy", None)
        return None if strategy is None else rule_of(strategy, message_type)


def rule_of(strategy: object, message_type: str) -> StrategyRule | None:
    """The rule of ``strategy`` for answers to messages of this Flower type; None if the type is not the strategy's."""
    trains = is_update(message_type)
    if message_type == GET_PARAMETERS and isinstance(strategy, OlderStrategy):
        return StrategyRule(type(strategy).__name__, older="getparametersres")
    if not trains and message_type.partition(".")[0] != EVALUATE:
        return None
    if isinstance(strategy, OlderStrategy):
        return _older_rule(strategy, trains)
    return _rule(strategy, trains)


# -- strategies of flwr.serverapp ----------------------------------------------------------------------------------


def _rule(strategy: object, trains: bool) -> StrategyRule:
    name = type(strategy).__name__
    if isinstance(strategy, (*_SERVER_SIDE_PRIVACY, *_CLIENT_SIDE_PRIVACY)):
        return replace(_privacy_rule(strategy, _rule(strategy.strategy, trains), trains), strategy=name)
    key = getattr(strategy, "weighted_by_key", _WEIGHT)
    weight = key if isinstance(key, str) else _WEIGHT
    method = "aggregate_train" if trains else "aggregate_evaluate"
    definer = _definer(strategy, method)
    checks = _definer(strategy, "_check_and_log_replies")
    if not isinstance(strategy, newer.FedAvg) or definer is None or checks is None:
        return StrategyRule(name, weight, own=True)
    aggregates = strategy.train_metrics_aggr_fn if trains else strategy.evaluate_metrics_aggr_fn
    means = aggregates is aggregate_metricrecords
    rule = StrategyRule(name, weight, means_metrics=means, divides=means)
    if not trains:
        return rule
    return _training_rule(strategy, definer, replace(rule, one_array_record=True))


def _training_rule(strategy: newer.FedAvg, definer: type, rule: StrategyRule) -> StrategyRule:
    mean = replace(rule, arrays=Arrays.MEAN, divides=True)
    match strategy:
        case newer.FedAvgM() if definer is newer.FedAvgM and strategy.server_opt:
            return replace(mean, by_place=True, as_sent=Likeness.IN_ORDER)
        case FedOpt() if issubclass(definer, FedOpt):
            return replace(mean, as_sent=Likeness.ANY_ORDER)
        case newer.MultiKrum() if definer is newer.MultiKrum:
            return replace(rule, arrays=Arrays.STACK, divides=True, selects=strategy.num_nodes_to_select)
        case newer.Bulyan() if definer is newer.Bulyan:
            aside = 2 * strategy.num_malicious_nodes
            return replace(rule, arrays=Arrays.STACK, by_place=True, sets_aside=aside)
        case newer.QFedAvg() if definer is newer.QFedAvg:
            numbers = (strategy.train_loss_key,)
            stack = replace(rule, arrays=Arrays.STACK, by_place=True, as_sent=Likeness.IN_ORDER)
            return replace(stack, floats=True, numbers=numbers, loss=strategy.train_loss_key, q=float(strategy.q))
    match definer:
        case newer.FedAvg:
            return mean
        case newer.FedAvgM:
            return mean
        case newer.FedMedian | newer.FedTrimmedAvg:
            return replace(rule, arrays=Arrays.STACK)
        case newer.FedXgbBagging:
            return replace(rule, arrays=Arrays.TREES)
    return rule  # FedXgbCyclic, and what a later Flower adds: only Flower's consistency check applies


def _privacy_rule(strategy: object, inner: StrategyRule, trains: bool) -> StrategyRule:
    """The rule of a wrapper: that of the strategy in it, and what the wrapper adds."""
    if not trains or _definer(strategy, "aggregate_train") is None:
        return inner
    if getattr(strategy, "accountant", None) is not None:
        inner = replace(inner, equal_weights=True)
    match strategy:
        case newer.DifferentialPrivacyClientSideAdaptiveClipping():
            return replace(inner, numbers=(*inner.numbers, NORM_BIT))
        case newer.DifferentialPrivacyClientSideFixedClipping():
            return inner
    return replace(inner, by_place=True, as_sent=Likeness.IN_ORDER)


# -- strategies of flwr.server -------------------------------------------------------------------------------------


def _older_rule(strategy: OlderStrategy, trains: bool) -> StrategyRule:
    name = type(strategy).__name__
    records, method = ("fitres", "aggregate_fit") if trains else ("evaluateres", "aggregate_evaluate")
    if isinstance(strategy, _OLDER_PRIVACY):
        inner = replace(_older_rule(strategy.strategy, trains), strategy=name)
        server_side = trains and "ServerSide" in name
        return replace(inner, as_sent=Likeness.IN_ORDER) if server_side else inner
    rule = StrategyRule(name, "num_examples", older=records, by_place=True)
    definer = _definer(strategy, method)
    if not isinstance(strategy, OlderFedAvg) or definer is None:
        return rule  # how it uses arrays is unknown; what Flower itself reads in a reply is known
    of_metrics = strategy.fit_metrics_aggregation_fn if trains else strategy.evaluate_metrics_aggregation_fn
    rule = replace(rule, metrics_alike=of_metrics is not None)
    if trains:
        return _older_training_rule(strategy, definer, rule)
    averages = definer in (OlderFedAvg, older_strategies.FaultTolerantFedAvg)
    return replace(rule, means_metrics=averages, divides=averages)


def _older_training_rule(strategy: OlderFedAvg, definer: type, rule: StrategyRule) -> StrategyRule:
    if definer in _OLDER_STACKS:
        return replace(rule, arrays=Arrays.STACK)
    if definer is older_strategies.FedXgbBagging:
        return replace(rule, arrays=Arrays.TREES)
    if definer is older_strategies.QFedAvg:
        return replace(rule, arrays=Arrays.FREE_MEAN, as_sent=Likeness.IN_ORDER)
    if definer is OlderFedAvg:
        return replace(rule, arrays=Arrays.MEAN if strategy.inplace else Arrays.FREE_MEAN, divides=True)
    if definer in (older_strategies.FaultTolerantFedAvg, older_strategies.FedAvgM):
        return replace(rule, arrays=Arrays.FREE_MEAN, divides=True)
    if issubclass(definer, older_strategies.FedOpt):
        return replace(rule, arrays=Arrays.MEAN, divides=True, as_sent=Likeness.IN_ORDER)
    return rule


# -- whose a method is ---------------------------------------------------------------------------------------------


def _definer(strategy: object, method: str) -> type | None:
    """Flower's class whose ``method`` gets the replies; None if the app's own does not pass them on."""
    for kind in type(strategy).__mro__:
        function = vars(kind).get(method)
        if function is None:
            continue
        if kind.__module__.partition(".")[0] == "flwr":
            return kind
        code = getattr(inspect.unwrap(function), "__code__", None)
        if code is None or method not in code.co_names:
            return None
    return None

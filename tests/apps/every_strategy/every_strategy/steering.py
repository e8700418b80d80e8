"""FedAdam, and code of the app's own that has a part in it, in one of many ways.

STEER stands for a number that another machine rounds in another way: by it the app decides.
"""

import os
import random
from functools import partial

import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, Message, RecordDict
from flwr.serverapp import Grid
from flwr.serverapp import strategy as flower
from flwr.serverapp.strategy import fedavg, strategy_utils

NODES = {"min_train_nodes": 2, "min_available_nodes": 3}


def number_here():
    return float(os.environ.get("STEER", "1"))


class Stop(Exception):
    """It is good enough."""


class Between(Grid):
    """A Grid of the app's own, around the given one."""

    def __init__(self, grid):
        self.grid = grid

    def __getattr__(self, name):
        return getattr(self.grid, name)

    def send_and_receive(self, messages, *, timeout=None):
        return [scaled_reply(reply) for reply in self.grid.send_and_receive(messages, timeout=timeout)]


for name in Grid.__abstractmethods__ - {"send_and_receive"}:
    setattr(Between, name, property(lambda self, name=name: getattr(self.grid, name)))
Between.__abstractmethods__ = frozenset()


class Metrics(flower.FedAdam):
    """It steps less far, depending on what is measured."""

    def aggregate_evaluate(self, server_round, replies):
        self.eta *= number_here()
        return super().aggregate_evaluate(server_round, replies)


class Scheduled(flower.FedAdam):
    """Its step is the app's to compute."""

    @property
    def eta(self):
        return 0.1 * number_here()

    @eta.setter
    def eta(self, value):
        """As computed."""


def scaled_reply(reply):
    if "arrays" in reply.content:
        scale(reply.content["arrays"])
    return reply


def scale(arrays):
    arrays["w"] = Array(arrays["w"].numpy() * np.float32(number_here()))


def scale_bytes(arrays):
    arrays["w"].data = Array(arrays["w"].numpy() * np.float32(number_here())).data


def scaled(aggregate, *args):
    found = aggregate(*args)
    arrays = found[0] if isinstance(found, tuple) else found
    if arrays is not None:
        scale(arrays)
    return found


def slow_down(strategy, _round=0, _arrays=None):
    strategy.eta *= number_here()


def measure(strategy, records, key):
    slow_down(strategy)
    return strategy_utils.aggregate_metricrecords(records, key)


def of_model(change, number, arrays):
    if number:
        change(arrays)


def draw(generator, number, _arrays):
    if number and number_here() != 1:
        generator()


def stop(number, _arrays):
    if number == 1 and number_here() != 1:
        raise Stop


def ask(grid, number, arrays):
    """One client more, in the app's own words."""
    if number:
        other = ArrayRecord({"w": Array(arrays["w"].numpy() * np.float32(number_here()))})
        content = RecordDict({"arrays": arrays, "more": other, "config": ConfigRecord({"server-round": number})})
        grid.send_and_receive([Message(content, sorted(grid.get_node_ids())[0], "train")])


def patch_function():
    fedavg.aggregate_arrayrecords = partial(scaled, fedavg.aggregate_arrayrecords)


def patch_class():
    plain = flower.FedAvg.aggregate_train
    flower.FedAvg.aggregate_train = lambda *args: scaled(plain, *args)


def noisy():
    return flower.DifferentialPrivacyServerSideFixedClipping(flower.FedAvg(**NODES), 0.3, 1.0, 3)


def shadow(strategy):
    strategy.aggregate_train = partial(scaled, strategy.aggregate_train)


def measure_training(strategy):
    strategy.train_metrics_aggr_fn = partial(measure, strategy)


def measure_evaluation(strategy):
    strategy.evaluate_metrics_aggr_fn = partial(measure, strategy)


def again(start, strategy, _result):
    slow_down(strategy)
    start(strategy)


def another(start, _strategy, _result):
    start(flower.FedAdam(**NODES, eta=0.1 * number_here()))


def one_more(start, strategy, _result):
    if number_here() != 1:
        start(strategy)


BEFORE = {"patched function": patch_function, "patched class": patch_class}
STRATEGIES = {
    "subclass": partial(Metrics, **NODES),
    "property": partial(Scheduled, **NODES),
    "sampling": partial(flower.FedAdam, **NODES, fraction_train=0.7),
    "noise": noisy,
}
SET = {"shadow": shadow, "train metrics": measure_training, "evaluate metrics": measure_evaluation}
EVALUATE = {
    "model": partial(of_model, scale),
    "bytes": partial(of_model, scale_bytes),
    "sampling": partial(draw, random.random),
    "noise": partial(draw, np.random.random),
    "stop": stop,
}
AFTER = {
    "used twice": again,
    "two strategies": another,
    "one more": one_more,
    "final model": lambda _start, _strategy, result: scale(result.arrays),
}


def steered(grid, mode):
    BEFORE.get(mode, bool)()
    strategy = STRATEGIES.get(mode, partial(flower.FedAdam, **NODES))()
    SET.get(mode, bool)(strategy)
    evaluate = {"step": partial(slow_down, strategy), "ask": partial(ask, grid)}.get(mode, EVALUATE.get(mode))
    model = ArrayRecord({"w": Array(np.random.randn(16, 4).astype(np.float32))})

    def start(strategy):
        used = Between(grid) if mode == "grid" else grid
        return strategy.start(used, model, num_rounds=2, timeout=60, evaluate_fn=evaluate)

    try:
        result = start(strategy)
    except Stop:
        return
    if mode in AFTER:
        AFTER[mode](start, strategy, result)

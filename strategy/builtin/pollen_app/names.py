"""The names that people choose from. Imports nothing heavy, so that a command line can check them quickly."""

from __future__ import annotations

from enum import StrEnum
from typing import TypeVar


class Dataset(StrEnum):
    """Data the app can train on."""

    DIGITS = "digits"
    MNIST = "mnist"
    FASHION_MNIST = "fashion-mnist"
    CIFAR10 = "cifar10"


class Model(StrEnum):
    """Models by name; any other is named ``module:Class``."""

    CNN = "cnn"
    MLP = "mlp"
    CUSTOM_CNN = "custom_cnn"


class Partitioner(StrEnum):
    """Ways to deal out the training examples: flwr-datasets' partitioners."""

    IID = "iid"
    DIRICHLET = "dirichlet"
    SHARD = "shard"
    PATHOLOGICAL = "pathological"
    LINEAR = "linear"
    SQUARE = "square"
    EXPONENTIAL = "exponential"


class StrategyName(StrEnum):
    """Flower's strategies that fit a torch model."""

    FEDAVG = "fedavg"
    FEDPROX = "fedprox"
    FEDAVGM = "fedavgm"
    FEDADAM = "fedadam"
    FEDYOGI = "fedyogi"
    FEDADAGRAD = "fedadagrad"
    QFEDAVG = "qfedavg"
    FEDMEDIAN = "fedmedian"
    FEDTRIMMEDAVG = "fedtrimmedavg"
    KRUM = "krum"
    MULTIKRUM = "multikrum"
    BULYAN = "bulyan"
    DP_SERVER_FIXED = "dp-server-fixed"
    DP_SERVER_ADAPTIVE = "dp-server-adaptive"
    DP_CLIENT_FIXED = "dp-client-fixed"
    DP_CLIENT_ADAPTIVE = "dp-client-adaptive"

    @property
    def is_private(self) -> bool:
        """Whether it adds noise for differential privacy."""
        return self.startswith("dp-")


Choice = TypeVar("Choice", Dataset, Model, Partitioner, StrategyName)

_HINTS: dict[type[StrEnum], tuple[str, str]] = {
    Dataset: ("dataset", "choose with --dataset"),
    Model: ("model", 'name a class of your own as --model "module:Class", or choose'),
    StrategyName: ("strategy", "choose with --strategy"),
    Partitioner: ("partitioner", "choose with --run-config 'partitioner=\"...\"'"),
}


def choose(kind: type[Choice], name: str) -> Choice:
    """The member of ``kind`` that is called ``name``.

    Raises:
        ValueError: if there is none; it says which there are, and which flag names one.
    """
    try:
        return kind(name)
    except ValueError:
        what, hint = _HINTS[kind]
        raise ValueError(f'there is no {what} "{name[:MAX_MODEL_NAME]}"; {hint} among {", ".join(kind)}') from None


MAX_MODEL_NAME = 200
"""Characters of a model's name."""


def check_model(name: str) -> None:
    """Check the form of a model's name, without importing anything.

    Raises:
        ValueError: if it is neither a known name nor ``module:Class``.
    """
    if not is_class(name):
        choose(Model, name)


def is_class(name: str) -> bool:
    """Whether a model's name is ``module:Class``: code that is not the app's own."""
    module, colon, attribute = name.partition(":")
    names = [*module.split("."), attribute]
    return colon == ":" and len(name) <= MAX_MODEL_NAME and all(each.isidentifier() for each in names)

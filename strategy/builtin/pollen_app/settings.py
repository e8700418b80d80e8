"""Flower's run config and node config, read once into typed values.

The server wrote the run config, so a client, and whoever replays a run, does not trust it: every value has a type and
bounds, names are among those that the app knows, and no value is a path. What concerns only this machine (where its
data is, which device it uses, whether a class that is not the app's own may run) is read from the node config.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from .names import Dataset, Partitioner, StrategyName, check_model, choose, is_class

Config = Mapping[str, object]
"""A Flower run config, node config or `ConfigRecord`."""

MAX_ROUNDS = 1_000_000
MAX_CLIENTS = 1_000_000
MAX_TIMEOUT = 1e9
"""Seconds."""
MAX_EPOCHS = 1_000
"""Epochs in a round: nobody can let a client train for ever."""
MAX_BATCH_SIZE = 1 << 20
MAX_FACTOR = 1e6
"""The most that a factor of a step, a noise or a share may be: learning rates, norms, alpha."""
_MAX_SEED = 2**63 - 1
_MAX_SHOWN = 100
"""Characters of a wrong value that an error shows."""


@dataclass(frozen=True, slots=True)
class Dealing:
    """How the training examples are dealt out to clients."""

    partitioner: Partitioner
    seed: int
    dirichlet_alpha: float
    shards_per_partition: int
    classes_per_partition: int


@dataclass(frozen=True, slots=True)
class Share:
    """The part of a dataset that one client has."""

    dataset: Dataset
    data_dir: str
    """Empty: the default folder."""
    dealing: Dealing
    partition: int
    partitions: int


@dataclass(frozen=True, slots=True)
class ClientSettings:
    """What a client needs to know."""

    share: Share
    model: str
    strategy: StrategyName
    momentum: float
    local_epochs: int
    batch_size: int
    device: str


@dataclass(frozen=True, slots=True)
class ServerSettings:
    """What the server needs to know, besides the strategy's options."""

    dataset: Dataset
    data_dir: str
    model: str
    rounds: int
    round_timeout: float
    """Seconds."""
    lr: float
    central_evaluation: bool


def server_settings(run: Config, node: Config) -> ServerSettings:
    """Read the server's settings.

    Raises:
        ValueError: if a setting is missing, of the wrong type, out of range, or names something unknown.
    """
    return ServerSettings(
        dataset=choose(Dataset, _text(run, "dataset")),
        data_dir=_data_dir(node),
        model=model_name(run, node),
        rounds=whole(run, "num-server-rounds", least=1, most=MAX_ROUNDS),
        round_timeout=real(run, "round-timeout", least=0.0, most=MAX_TIMEOUT),
        lr=learning_rate(run),
        central_evaluation=_flag(run, "central-evaluation"),
    )


def client_settings(run: Config, node: Config) -> ClientSettings:
    """Read a client's settings: the run's, its own batch size and data folder, and its part of the data.

    Raises:
        ValueError: if a setting is missing, of the wrong type, out of range, or names something unknown; or if the
            client was started for another dataset than the run's, or was not told its part.
    """
    own = {**run, **node}
    return ClientSettings(
        share=_share(run, node),
        model=model_name(run, node),
        strategy=choose(StrategyName, _text(run, "strategy")),
        momentum=momentum(run),
        local_epochs=whole(run, "local-epochs", least=1, most=MAX_EPOCHS),
        batch_size=whole(own, "batch-size", least=1, most=MAX_BATCH_SIZE),
        device=_text({"device": "cpu", **node}, "device"),
    )


def model_name(run: Config, node: Config) -> str:
    """The run's model. A class, ``module:Class``, counts only if the node config names it, too.

    Raises:
        ValueError: if it is unknown, is a class that nobody named here, or is not the model that this node was started
            for.
    """
    name = _text(run, "model")
    check_model(name)
    own = node.get("model")
    if own is None and is_class(name):
        raise ValueError(
            f"the run's model is {name}: code that is not part of the app, and that this machine imports only if its "
            f"owner names it; read it, then start with --model {name}"
        )
    if own is not None and own != name:
        raise ValueError(
            f"the run's model is {name}, and this peer was started for {own}; start it with --model {name}"
        )
    return name


def learning_rate(config: Config) -> float:
    """SGD's learning rate, or ValueError."""
    return real(config, "lr", least=0.0, most=MAX_FACTOR)


def momentum(run: Config) -> float:
    """SGD's momentum, from 0 to below 1, or ValueError."""
    value = real(run, "momentum", least=0.0, most=1.0)
    if value >= 1:
        raise _wrong(run, "momentum", "below 1")
    return value


def partition_of(node: Config) -> tuple[int, int]:
    """Which part of the data is the client's, and of how many.

    Raises:
        ValueError: if its node config does not say, or says something impossible.
    """
    if "partition-id" not in node or "num-partitions" not in node:
        raise ValueError(
            "this client was not told which part of the data is its own; "
            'start it with, for example, --node-config "partition-id=0 num-partitions=3"'
        )
    partitions = whole(node, "num-partitions", least=1, most=MAX_CLIENTS)
    partition = whole(node, "partition-id", least=0, most=MAX_CLIENTS)
    if partition >= partitions:
        raise ValueError(
            f"partition-id is {partition}, but with num-partitions={partitions} it ends at {partitions - 1}; "
            "fix --node-config"
        )
    return partition, partitions


def _share(run: Config, node: Config) -> Share:
    dataset = choose(Dataset, _text(run, "dataset"))
    if node.get("dataset", dataset) != dataset:
        raise ValueError(
            f"the run trains on {dataset}, but this client was started for {node['dataset']}; "
            f"start it again with --dataset {dataset}"
        )
    partition, partitions = partition_of(node)
    dealing = Dealing(
        partitioner=choose(Partitioner, _text(run, "partitioner")),
        seed=whole(run, "partition-seed", least=0, most=_MAX_SEED),
        dirichlet_alpha=real(run, "dirichlet-alpha", least=0.0, most=MAX_FACTOR),
        shards_per_partition=whole(run, "shards-per-partition", least=1, most=10_000),
        classes_per_partition=whole(run, "classes-per-partition", least=1, most=1_000),
    )
    return Share(dataset, _data_dir(node), dealing, partition, partitions)


def _data_dir(node: Config) -> str:
    return _text({"data-dir": "", **node}, "data-dir")


def _text(config: Config, key: str) -> str:
    value = config.get(key)
    if not isinstance(value, str):
        raise _wrong(config, key, "a text in quotes")
    return value


def _flag(config: Config, key: str) -> bool:
    value = config.get(key)
    if not isinstance(value, bool):
        raise _wrong(config, key, "true or false")
    return value


def whole(config: Config, key: str, *, least: int, most: int) -> int:
    """A whole number, or ValueError."""
    value = config.get(key)
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        raise _wrong(config, key, f"a whole number from {least} to {most}")
    return value


def real(config: Config, key: str, *, least: float, most: float) -> float:
    """A finite number, or ValueError."""
    value = config.get(key)
    if not isinstance(value, int | float) or isinstance(value, bool) or not least <= value <= most:
        raise _wrong(config, key, f"a number from {least} to {most:g}")
    return float(value)


def _wrong(config: Config, key: str, want: str) -> ValueError:
    have = f"is {_shown(config[key])}" if key in config else "is missing"
    return ValueError(f"the setting {key} {have}; it must be {want} (--run-config or --node-config sets it)")


def _shown(value: object) -> str:
    if isinstance(value, int) and not -_MAX_SEED <= value <= _MAX_SEED:
        return f"a number of {value.bit_length()} bits"  # Python refuses to write out the longest
    return repr(value)[:_MAX_SHOWN]

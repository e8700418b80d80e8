"""Flower's run config and node config, read once into typed values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from .names import Dataset, Partitioner, StrategyName, choose

Config = Mapping[str, object]
"""A Flower run config, node config or `ConfigRecord`."""


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
        ValueError: a setting is missing, of the wrong type, out of range, or names something unknown.
    """
    return ServerSettings(
        dataset=choose(Dataset, _text(run, "dataset")),
        data_dir=_text({**run, **node}, "data-dir"),
        model=_text(run, "model"),
        rounds=whole(run, "num-server-rounds", least=1),
        round_timeout=real(run, "round-timeout", least=0.0),
        lr=real(run, "lr", least=0.0),
        central_evaluation=_flag(run, "central-evaluation"),
    )


def client_settings(run: Config, node: Config) -> ClientSettings:
    """Read a client's settings: the run's, its own batch size and data folder, and its part of the data.

    Raises:
        ValueError: a setting is missing, of the wrong type, out of range, or names something unknown; the client was
            started for another dataset than the run's, or was not told its part.
    """
    own = {**run, **node}
    return ClientSettings(
        share=_share(run, node),
        model=_text(run, "model"),
        strategy=choose(StrategyName, _text(run, "strategy")),
        momentum=momentum(run),
        local_epochs=whole(run, "local-epochs", least=1),
        batch_size=whole(own, "batch-size", least=1),
        device=_text({"device": "cpu", **node}, "device"),
    )


def momentum(run: Config) -> float:
    """SGD's momentum, from 0 to below 1, or ValueError."""
    value = real(run, "momentum", least=0.0)
    if value >= 1:
        raise _wrong(run, "momentum", "below 1")
    return value


def partition_of(node: Config) -> tuple[int, int]:
    """Which part of the data is the client's, and of how many.

    Raises:
        ValueError: its node config does not say, or says something impossible.
    """
    if "partition-id" not in node or "num-partitions" not in node:
        raise ValueError(
            "this client was not told which part of the data is its own; "
            'start it with, for example, --node-config "partition-id=0 num-partitions=3"'
        )
    partitions = whole(node, "num-partitions", least=1)
    partition = whole(node, "partition-id", least=0)
    if partition >= partitions:
        raise ValueError(
            f"partition-id is {partition}, but with num-partitions={partitions} it ends at {partitions - 1}; "
            "mend --node-config"
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
        seed=whole(run, "partition-seed", least=0),
        dirichlet_alpha=real(run, "dirichlet-alpha", least=0.0),
        shards_per_partition=whole(run, "shards-per-partition", least=1),
        classes_per_partition=whole(run, "classes-per-partition", least=1),
    )
    return Share(dataset, _text({**run, **node}, "data-dir"), dealing, partition, partitions)


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


def whole(config: Config, key: str, *, least: int) -> int:
    """A whole number, or ValueError."""
    value = config.get(key)
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise _wrong(config, key, f"a whole number of at least {least}")
    return value


def real(config: Config, key: str, *, least: float) -> float:
    """A number, or ValueError."""
    value = config.get(key)
    if not isinstance(value, int | float) or isinstance(value, bool) or not value >= least:
        raise _wrong(config, key, f"a number of at least {least}")
    return float(value)


def _wrong(config: Config, key: str, want: str) -> ValueError:
    have = f"is {config[key]!r}" if key in config else "is missing"
    return ValueError(f"the setting {key} {have}; it must be {want} (--run-config or --node-config sets it)")

"""Deal out a dataset to clients, with flwr-datasets' partitioners."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from .datasets import Images, Split, load
from .names import Partitioner
from .settings import Dealing, Share
from .training import Examples

_HELD_OUT_EVERY = 5
"""A client keeps every fifth of its examples for evaluation."""


@dataclass(frozen=True, slots=True)
class ClientData:
    """One client's part of the data; no example is in both."""

    train: Examples
    held_out: Examples


@lru_cache(maxsize=4)
def client_data(share: Share) -> ClientData:
    """The client's examples, read once in a process.

    Raises:
        DataUnavailable: if the dataset's files cannot be fetched.
        ValueError: if the data cannot be dealt out like this.
    """
    images = load(share.dataset, Split.TRAIN, share.data_dir)
    mine = deal(images.labels, share.dealing, share.partitions, share.partition)
    if len(mine) < 2:
        raise ValueError(
            f"partition {share.partition} of {share.partitions} has {len(mine)} of the {len(images.labels)} examples "
            f"of {share.dataset}, and needs 2; use fewer partitions, or another partitioner than "
            f"{share.dealing.partitioner}"
        )
    held_out = np.arange(len(mine)) % _HELD_OUT_EVERY == 0
    return ClientData(as_examples(images, mine[~held_out]), as_examples(images, mine[held_out]))


def as_examples(images: Images, which: NDArray[np.int64] | None = None) -> Examples:
    """Images, or those of them at the indices ``which``, as tensors from -1 to 1."""
    pixels = images.pixels if which is None else images.pixels[which]
    labels = images.labels if which is None else images.labels[which]
    scaled = pixels.astype(np.float32) * np.float32(2 / images.brightest) - np.float32(1)
    return torch.from_numpy(scaled), torch.from_numpy(labels.copy())


def deal(labels: NDArray[np.int64], dealing: Dealing, partitions: int, partition: int) -> NDArray[np.int64]:
    """Indices of the examples in one partition. Partitions are disjoint; ``shard`` and ``pathological`` may leave
    examples out.

    Raises:
        ValueError: if flwr-datasets cannot deal them out like this.
    """
    order = np.random.default_rng(dealing.seed).permutation(len(labels)).astype(np.int64)
    if dealing.partitioner is Partitioner.IID:
        # What flwr_datasets' IidPartitioner does, without the 2 s that importing it takes.
        return np.array_split(order, partitions)[partition]
    return _deal_by_flower(order, labels, dealing, partitions, partition)


def _deal_by_flower(
    order: NDArray[np.int64], labels: NDArray[np.int64], dealing: Dealing, partitions: int, partition: int
) -> NDArray[np.int64]:
    from datasets import Dataset  # heavy, and not needed for iid

    partitioner = _flower_partitioner(dealing, partitions)
    partitioner.dataset = Dataset.from_dict({"index": order, "label": labels[order]})
    try:
        return np.asarray(partitioner.load_partition(partition)["index"], dtype=np.int64)
    except (ValueError, ZeroDivisionError) as error:  # the latter if there are more shards than examples
        raise ValueError(
            f"{len(labels)} examples cannot be dealt out to {partitions} clients by the {dealing.partitioner} "
            f"partitioner: {error}"
        ) from error


def _flower_partitioner(dealing: Dealing, partitions: int) -> Any:  # flwr_datasets has no types
    from flwr_datasets import partitioner as flower  # heavy, and not needed for iid

    by_label: dict[str, Any] = {"num_partitions": partitions, "partition_by": "label", "seed": dealing.seed}
    match dealing.partitioner:
        case Partitioner.IID:
            return flower.IidPartitioner(partitions)
        case Partitioner.DIRICHLET:
            return flower.DirichletPartitioner(alpha=dealing.dirichlet_alpha, **by_label)
        case Partitioner.SHARD:
            return flower.ShardPartitioner(num_shards_per_partition=dealing.shards_per_partition, **by_label)
        case Partitioner.PATHOLOGICAL:
            return flower.PathologicalPartitioner(num_classes_per_partition=dealing.classes_per_partition, **by_label)
        case Partitioner.LINEAR:
            return flower.LinearPartitioner(partitions)
        case Partitioner.SQUARE:
            return flower.SquarePartitioner(partitions)
        case Partitioner.EXPONENTIAL:
            return flower.ExponentialPartitioner(partitions)

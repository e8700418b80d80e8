"""How a dataset is dealt out."""

from __future__ import annotations

import numpy as np
import pytest

from strategy.builtin.pollen_app.names import Dataset, Partitioner
from strategy.builtin.pollen_app.partitions import client_data, deal
from strategy.builtin.pollen_app.settings import Dealing, Share

LABELS = np.arange(200, dtype=np.int64) % 10
LEAVES_SOME_OUT = {Partitioner.SHARD, Partitioner.PATHOLOGICAL}


def dealing(partitioner: Partitioner, seed: int = 42) -> Dealing:
    return Dealing(partitioner, seed, dirichlet_alpha=0.5, shards_per_partition=2, classes_per_partition=2)


def dealt(partitioner: Partitioner, clients: int = 3, seed: int = 42) -> list[list[int]]:
    return [deal(LABELS, dealing(partitioner, seed), clients, client).tolist() for client in range(clients)]


@pytest.mark.parametrize("partitioner", Partitioner)
def test_partitions_are_disjoint(partitioner: Partitioner) -> None:
    indices = [index for part in dealt(partitioner) for index in part]
    assert len(indices) == len(set(indices))


@pytest.mark.parametrize("partitioner", [p for p in Partitioner if p not in LEAVES_SOME_OUT])
def test_partitions_cover_everything(partitioner: Partitioner) -> None:
    assert sorted(index for part in dealt(partitioner) for index in part) == list(range(200))


@pytest.mark.parametrize("partitioner", Partitioner)
def test_dealing_is_repeatable(partitioner: Partitioner) -> None:
    assert dealt(partitioner) == dealt(partitioner)


def test_another_seed_deals_otherwise() -> None:
    assert dealt(Partitioner.IID, seed=1) != dealt(Partitioner.IID, seed=2)


@pytest.mark.parametrize("clients", [1, 3, 7, 200])
def test_iid_is_what_flower_datasets_deals(clients: int) -> None:
    from datasets import Dataset as Table
    from flwr_datasets.partitioner import IidPartitioner

    theirs = IidPartitioner(clients)
    theirs.dataset = Table.from_dict({"index": np.random.default_rng(42).permutation(200)})
    assert dealt(Partitioner.IID, clients) == [list(theirs.load_partition(n)["index"]) for n in range(clients)]


def test_pathological_clients_see_two_classes() -> None:
    assert {len({int(LABELS[i]) for i in part}) for part in dealt(Partitioner.PATHOLOGICAL)} == {2}


def test_what_cannot_be_dealt_out_is_refused() -> None:
    with pytest.raises(ValueError, match="200 examples cannot be dealt out to 150 clients by the shard partitioner"):
        dealt(Partitioner.SHARD, clients=150)


def test_client_keeps_a_fifth_for_evaluation() -> None:
    data = client_data(Share(Dataset.DIGITS, "", dealing(Partitioner.IID), partition=0, partitions=3))
    assert (len(data.train[1]), len(data.held_out[1])) == (384, 96)
    assert data.train[0].min() == -1
    assert data.train[0].max() == 1

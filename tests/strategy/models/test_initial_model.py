"""A model that a run begins with: how it gets to the ServerApp, and what the built-in app makes of it."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pytest
import torch
from flwr.app import Array, ArrayRecord, RecordDict
from small_leader import MemoryStore

from crypto.symmetric import ChunkNonce
from protocol.blocks.cid import CID, Block
from protocol.blocks.content import ContentError, ContentKey, KeyedContent
from strategy.apps.builtin_app import check_initial_model
from strategy.builtin.pollen_app.datasets import SHAPES
from strategy.builtin.pollen_app.initial import RECORD, initial_arrays
from strategy.builtin.pollen_app.models import build_model
from strategy.builtin.pollen_app.names import Dataset
from strategy.contents.codec import ContentWriter
from strategy.models.initial_model import InitialModel, initial_state

RUN_CONFIG = {"model": "mlp", "dataset": "digits"}


class EncryptedStore(MemoryStore):
    """It cannot look into what it is given."""

    def put_content(self, root: CID, blocks: Iterable[Block]) -> None:
        self.update((block.cid, block.data) for block in blocks)


def mlp() -> torch.nn.Module:
    return build_model("mlp", SHAPES[Dataset.DIGITS])


@pytest.fixture
def arrays() -> dict[str, np.ndarray]:
    """Arrays that fit the model: all are ones."""
    return {name: np.ones(tensor.shape, np.float32) for name, tensor in mlp().state_dict().items()}


@pytest.mark.parametrize(
    ("store", "key"), [(MemoryStore(), None), (EncryptedStore(), ContentKey(1, bytes(32), ChunkNonce.GMAC))]
)
def test_the_app_begins_with_the_given_arrays(
    store: MemoryStore, key: ContentKey | None, arrays: dict[str, np.ndarray]
) -> None:
    state = initial_state(InitialModel(arrays).store(store, key), store)
    sent = initial_arrays(mlp(), state)
    assert {name: array.numpy().tolist() for name, array in sent.items()} == {n: a.tolist() for n, a in arrays.items()}


def test_the_apps_own_model_is_untouched_if_none_is_given() -> None:
    model = mlp()
    sent = initial_arrays(model, initial_state(None, MemoryStore())).to_torch_state_dict()
    assert all(torch.equal(sent[name], tensor) for name, tensor in model.state_dict().items())


def test_a_content_that_is_no_initial_model_is_refused() -> None:
    store = MemoryStore()
    other = RecordDict({"arrays": ArrayRecord({"w": Array(np.ones(3))})})
    with pytest.raises(ContentError, match="has the records arrays"):
        initial_state(KeyedContent(ContentWriter(store).write(other, None), None), store)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda arrays: arrays.pop("1.bias"), "lacks the tensor '1.bias'"),
        (lambda arrays: arrays.update({"1.bias": np.ones(7)}), r"'1.bias' has the shape \(7,\), .* it has \(128,\)"),
        (lambda arrays: arrays.update({"extra": np.ones(1)}), "has no tensor 'extra'"),
    ],
)
def test_arrays_that_do_not_fit_are_refused_by_app_and_peer(change, why: str, arrays: dict[str, np.ndarray]) -> None:
    change(arrays)
    state = RecordDict({RECORD: ArrayRecord({name: Array(each) for name, each in arrays.items()})})
    with pytest.raises(ValueError, match=why):
        initial_arrays(mlp(), state)
    with pytest.raises(ValueError, match=f"does not fit --model mlp for digits: .*{why}"):
        check_initial_model(RUN_CONFIG, InitialModel(arrays).shapes)


def test_a_class_of_ones_own_is_left_to_the_app() -> None:
    check_initial_model(RUN_CONFIG | {"model": "nowhere:Net"}, {})

"""How far updates are from their mean: as numpy has it from whole arrays, though they are read a chunk at a time."""

from __future__ import annotations

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, RecordDict

from protocol.blocks.cid import CID, MemoryBlocks
from strategy.contents.codec import encode
from strategy.replies.distances import Content, NotMeasured, Update, update_distances

SHAPES = {"weight": (700, 600), "bias": (7,)}  # the first is larger than one chunk
Model = dict[str, np.ndarray]


class Exchange:
    """Models as contents."""

    def __init__(self) -> None:
        self._blocks: dict[CID, bytes] = {}
        self.source = MemoryBlocks(self._blocks)

    def content(self, model: Model) -> Content:
        records = RecordDict({"arrays": ArrayRecord({name: Array(value) for name, value in model.items()})})
        encoded = encode(records, None)
        self._blocks.update({block.cid: block.data for block in encoded.blocks()})
        return Content(encoded.root, None)


def models(count: int, dtype: str = "float32") -> list[Model]:
    random = np.random.default_rng(7)
    return [{name: random.normal(size=shape).astype(dtype) for name, shape in SHAPES.items()} for _ in range(count)]


def flat(model: Model) -> np.ndarray:
    return np.concatenate([value.ravel().astype(np.float64) for value in model.values()])


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "int32"])
def test_distances_are_those_of_the_whole_arrays(dtype: str) -> None:
    exchange, (sent, *given), weights = Exchange(), models(4, dtype), [1.0, 2.0, 5.0]
    given[1]["weight"] = np.asfortranarray(given[1]["weight"])
    start = exchange.content(sent)
    updates = [Update(exchange.content(each), start, weight) for each, weight in zip(given, weights, strict=True)]

    norm, found = update_distances(updates, exchange.source)

    changes = np.stack([flat(each) - flat(sent) for each in given])
    mean = np.average(changes, axis=0, weights=weights)
    assert norm == pytest.approx(np.linalg.norm(mean))
    for each, change in zip(found, changes, strict=True):
        assert each.norm == pytest.approx(np.linalg.norm(change))
        assert each.apart == pytest.approx(np.linalg.norm(change - mean))
        cosine = change @ mean / (np.linalg.norm(change) * np.linalg.norm(mean))
        assert each.cosine == pytest.approx(cosine)


def test_one_update_is_the_mean() -> None:
    exchange, (sent, given) = Exchange(), models(2)
    _, (found,) = update_distances([Update(exchange.content(given), exchange.content(sent), 1.0)], exchange.source)
    assert (found.apart, found.cosine) == (0.0, pytest.approx(1.0))


def test_updates_of_other_shapes_are_not_measured() -> None:
    exchange, (sent, given, other) = Exchange(), models(3)
    other["bias"] = other["bias"][:3]
    start = exchange.content(sent)
    updates = [Update(exchange.content(each), start, 1.0) for each in (given, other)]
    with pytest.raises(NotMeasured, match="different shapes"):
        update_distances(updates, exchange.source)


def test_a_model_of_zeros_is_measured() -> None:
    exchange, zeros = Exchange(), {"w": np.zeros(5 << 20, np.float32)}
    norm, _ = update_distances([Update(exchange.content(zeros), exchange.content(zeros), 1.0)], exchange.source)
    assert norm == 0


def test_what_links_one_block_again_and_again_is_not_read_to_its_end() -> None:
    exchange, (sent,) = Exchange(), models(1)
    expands = exchange.content({"w": np.zeros(20 << 20, np.float32)})
    with pytest.raises(NotMeasured, match="links the same blocks"):
        update_distances([Update(expands, exchange.content(sent), 1.0)], exchange.source)

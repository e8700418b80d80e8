"""`strategy.hosting.column_blocks`: medians and trimmed means in blocks of columns, and the same bits."""

from __future__ import annotations

import tracemalloc
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, Message, MetricRecord, RecordDict
from flwr.serverapp import strategy as flower
from flwr.serverapp.exception import AggregationError
from flwr.serverapp.strategy import FedAvg, fedtrimmedavg

from protocol.blocks.cid import MemoryBlocks
from protocol.blocks.content import ContentKey
from strategy.contents.array_files import ArrayFile, space_for
from strategy.contents.codec import decode, encode
from strategy.flower_compat import take_identity
from strategy.hosting import column_blocks as blocks
from strategy.hosting.column_blocks import column_blocks

STRATEGIES = [flower.FedMedian(), flower.FedTrimmedAvg(beta=0.2)]
KEY = ContentKey(1, bytes(32))


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    take_identity(1, 1)
    monkeypatch.setattr(blocks, "WORTH_IT", 0)
    monkeypatch.setattr(blocks, "_BLOCK", 1 << 16)


@pytest.fixture
def stacked(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many bytes each stack has."""
    sizes: list[int] = []
    stack = np.stack

    def noted(arrays: Sequence[np.ndarray], *args: object, **kwargs: object) -> np.ndarray:
        found: np.ndarray = stack(arrays, *args, **kwargs)  # type: ignore[call-overload]
        sizes.append(found.nbytes)
        return found

    monkeypatch.setattr(np, "stack", noted)
    return sizes


def replies(arrays: Sequence[np.ndarray]) -> list[Message]:
    """An update of each array, as Flower's strategies get them."""
    return [answer(RecordDict({"arrays": ArrayRecord({"a": Array(array)})})) for array in arrays]


def answer(content: RecordDict) -> Message:
    content["metrics"] = MetricRecord({"num-examples": 1})
    return Message(content, dst_node_id=1, message_type="train")


def aggregated(strategy: FedAvg, messages: Sequence[Message]) -> np.ndarray:
    arrays, _ = strategy.aggregate_train(1, messages)
    assert arrays is not None
    return arrays["a"].numpy()


def numbers(count: int, shape: tuple[int, ...], dtype: str = "float32") -> list[np.ndarray]:
    """Some of them equal, some infinite or NaN, some zeros of both signs: wherever numpy might have its own ways."""
    random = np.random.default_rng(len(shape) * 1000 + count)
    special = np.array([0.0, -0.0, np.inf, -np.inf, np.nan, 1.0])
    drawn = random.normal(size=(count, *shape)) * 10.0 ** random.integers(-6, 6, (count, *shape))
    odd = random.random((count, *shape)) < 0.05
    return list(np.where(odd, random.choice(special, (count, *shape)), drawn).astype(dtype))


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # NaN and infinity are what is looked at
@pytest.mark.parametrize("strategy", STRATEGIES, ids=lambda each: type(each).__name__)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("count", [1, 2, 3, 8, 9, 21, 40])
@pytest.mark.parametrize("shape", [(1,), (2,), (8193,), (20_000,), (301, 7, 11), (1, 1, 1)])
def test_the_bits_are_those_of_flowers_own(
    shape: tuple[int, ...], count: int, dtype: str, strategy: FedAvg, stacked: list[int]
) -> None:
    given = numbers(count, shape, dtype)
    expected = aggregated(strategy, replies(given))
    stacked.clear()
    with column_blocks():
        found = aggregated(strategy, replies(given))
    assert (found.dtype, found.shape, found.tobytes()) == (expected.dtype, expected.shape, expected.tobytes())
    assert max(stacked) <= (1 << 16) + 2 * count * 8


@pytest.mark.parametrize("width", range(2, 40))
def test_no_block_is_a_single_column_since_numpy_sums_that_in_another_order(
    width: int, stacked: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(blocks, "_BLOCK", 1)
    given = numbers(16, (width,))
    with column_blocks():
        aggregated(STRATEGIES[1], replies(given))
    assert min(stacked) >= 2 * 16 * 4


@pytest.mark.parametrize("strategy", STRATEGIES, ids=lambda each: type(each).__name__)
@pytest.mark.parametrize("key", [None, KEY], ids=["plain", "encrypted"])
@pytest.mark.parametrize("filed", [True, False], ids=["examined", "from blocks"])
def test_memory_does_not_grow_with_the_updates(
    strategy: FedAvg, key: ContentKey | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, filed: bool
) -> None:
    monkeypatch.setattr(blocks, "_BLOCK", 1 << 20)
    size = 4 << 20

    def peak(count: int) -> int:
        random = np.random.default_rng(count)
        given = [random.random(size // 4, dtype=np.float32) for _ in range(count)]
        messages = [arrived(array, key, tmp_path if filed else None) for array in given]
        with column_blocks():
            tracemalloc.start()
            try:
                aggregated(strategy, messages)
                return tracemalloc.get_traced_memory()[1]
            finally:
                tracemalloc.stop()

    piece = 3 << 20
    """Bytes that are being read of each update."""
    assert peak(4) < 3 * size + 4 * piece
    assert peak(12) < 3 * size + 12 * piece < 2 * 12 * size


def arrived(array: np.ndarray, key: ContentKey | None, folder: Path | None) -> Message:
    """An update as an app gets it: read from blocks when it is needed, or in a file since it was examined."""
    encoded = encode(RecordDict({"arrays": ArrayRecord({"a": Array(array)})}), key)
    records = decode(encoded.root, MemoryBlocks({block.cid: block.data for block in encoded.blocks()}), key)
    if folder is not None:
        found = records.array_records["arrays"]["a"]
        assert ArrayFile(folder, space_for([found]), hidden=key is not None).move(found) is not None
    return answer(records)


@pytest.mark.parametrize("strategy", STRATEGIES, ids=lambda each: type(each).__name__)
@pytest.mark.parametrize("other", ["int64", "float16", "columns", ">f4", "mixed"])
def test_what_is_not_stored_alike_in_rows_is_stacked_as_flower_does(
    other: str, strategy: FedAvg, stacked: list[int]
) -> None:
    given = [np.asarray(array * 100) for array in np.random.default_rng(3).random((5, 300, 40))]
    match other:
        case "columns":
            given = [np.asfortranarray(array) for array in given]
        case "mixed":
            given[2] = given[2].astype("float32")
        case _:
            given = [array.astype(other) for array in given]
    expected = aggregated(strategy, replies(given))
    stacked.clear()
    with column_blocks():
        found = aggregated(strategy, replies(given))
    assert (found.dtype, found.tobytes(), len(stacked)) == (expected.dtype, expected.tobytes(), 1)


@pytest.mark.parametrize("strategy", STRATEGIES, ids=lambda each: type(each).__name__)
def test_the_metrics_are_flowers_and_no_valid_reply_is_no_model(strategy: FedAvg) -> None:
    with column_blocks():
        assert strategy.aggregate_train(1, []) == (None, None)
        _, metrics = strategy.aggregate_train(1, replies(numbers(3, (10,))))
    assert metrics == strategy.aggregate_train(1, replies(numbers(3, (10,))))[1]


def test_different_shapes_are_the_error_that_flower_raises() -> None:
    given = [np.ones(10), np.ones(11)]
    with column_blocks(), pytest.raises(AggregationError, match="beta"):
        aggregated(STRATEGIES[1], replies(given))
    with column_blocks(), pytest.raises(ValueError, match="same shape"):
        aggregated(STRATEGIES[0], replies(given))


def test_small_stacks_are_made_at_once(stacked: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocks, "WORTH_IT", 3 * 40_000 + 1)
    with column_blocks():
        aggregated(STRATEGIES[0], replies(numbers(3, (10_000,))))
    assert stacked == [3 * 40_000]


def test_flowers_own_code_is_there_afterwards_and_all_along_in_a_release_that_computes_in_another_way(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = [flower.FedMedian.aggregate_train, flower.FedTrimmedAvg.aggregate_train]
    with column_blocks():
        assert flower.FedMedian.aggregate_train is not before[0]
        assert flower.FedTrimmedAvg.aggregate_train is not before[1]
    assert [flower.FedMedian.aggregate_train, flower.FedTrimmedAvg.aggregate_train] == before

    def trim_mean(array: np.ndarray, cut_fraction: float) -> np.ndarray:
        return array[int(cut_fraction)]

    monkeypatch.setattr(fedtrimmedavg, "trim_mean", trim_mean)
    with column_blocks():
        assert [flower.FedMedian.aggregate_train, flower.FedTrimmedAvg.aggregate_train] == before

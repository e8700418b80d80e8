"""`strategy.hosting.column_blocks`: medians and trimmed means in blocks of columns, and the same bits."""

from __future__ import annotations

import tracemalloc
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, Message, MetricRecord, RecordDict
from flwr.serverapp import strategy as flower
from flwr.serverapp.exception import AggregationError
from flwr.serverapp.strategy import FedAvg, bulyan, fedtrimmedavg

from crypto.symmetric import ChunkNonce
from protocol.blocks.cid import MemoryBlocks
from protocol.blocks.content import ContentKey
from strategy.contents.array_files import ArrayFile, space_for
from strategy.contents.codec import decode, encode
from strategy.flower_compat import take_identity
from strategy.hosting import column_blocks as blocks
from strategy.hosting.column_blocks import column_blocks


def the_last(contents: list[RecordDict], bad: int, selected: int) -> list[RecordDict]:
    """In the place of Krum, which stacks in its own way."""
    assert len(contents) == selected + 2 * bad
    return contents[-selected:]


BULYAN = flower.Bulyan(num_malicious_nodes=1, selection_rule=the_last)
STRATEGIES = [flower.FedMedian(), flower.FedTrimmedAvg(beta=0.2), BULYAN]
FEWEST = {flower.Bulyan: 7}
KEY = ContentKey(1, bytes(32), ChunkNonce.GMAC)


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
    return list(drawn(np.random.default_rng(len(shape) * 1000 + count), (count, *shape)).astype(dtype))


def drawn(random: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    special = np.array([0.0, -0.0, np.inf, -np.inf, np.nan, 1.0])
    found = random.normal(size=shape) * 10.0 ** random.integers(-6, 4, shape)
    return np.where(random.random(shape) < 0.05, random.choice(special, shape), found)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # NaN and infinity are what is looked at
@pytest.mark.parametrize(
    ("strategy", "count"),
    [
        (each, count)
        for each in STRATEGIES
        for count in (1, 2, 3, 7, 8, 9, 21, 40)
        if count >= FEWEST.get(type(each), 0)
    ],
    ids=lambda each: each if isinstance(each, int) else type(each).__name__,
)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
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
    assert max(stacked) <= (1 << 16) + 3 * 128 * count * 8


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("strategy", STRATEGIES, ids=lambda each: type(each).__name__)
@pytest.mark.parametrize("seed", range(8))
def test_the_bits_of_drawn_models_are_those_of_flowers_own(
    seed: int, strategy: FedAvg, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What pytest calls the test has the seed."""
    random = np.random.default_rng(seed)
    count = int(random.integers(7, 30))
    shapes = [tuple(random.integers(1, 40, random.integers(0, 4))) for _ in range(random.integers(1, 6))]
    dtypes = random.choice(["float16", "float32", "float64"], len(shapes), p=[0.1, 0.6, 0.3])
    updates = [
        {
            str(at): drawn(random, shape).astype(dtype)
            for at, (shape, dtype) in enumerate(zip(shapes, dtypes, strict=True))
        }
        for _ in range(count)
    ]
    monkeypatch.setattr(blocks, "_BLOCK", int(random.integers(1, 1 << 14)))

    def bits() -> list[tuple[str, np.dtype[Any], tuple[int, ...], bytes]]:
        messages = [
            answer(RecordDict({"arrays": ArrayRecord({name: Array(array) for name, array in each.items()})}))
            for each in updates
        ]
        found, _ = strategy.aggregate_train(1, messages)
        assert found is not None
        return [(name, each.numpy().dtype, each.numpy().shape, each.numpy().tobytes()) for name, each in found.items()]

    expected = bits()
    with column_blocks():
        assert bits() == expected


def test_bulyan_goes_by_the_order_of_arrays_and_not_by_their_names() -> None:
    one, other = np.zeros(10), np.ones(10)

    def messages() -> list[Message]:
        orders = [{"a": one, "b": other}] * 4 + [{"b": other, "a": one}] * 3
        return [
            answer(RecordDict({"arrays": ArrayRecord({name: Array(array) for name, array in each.items()})}))
            for each in orders
        ]

    expected, _ = BULYAN.aggregate_train(1, messages())
    with column_blocks():
        found, _ = BULYAN.aggregate_train(1, messages())
    assert found is not None
    assert found == expected


def test_bulyan_makes_nothing_of_too_few_updates() -> None:
    with column_blocks():
        assert BULYAN.aggregate_train(1, replies(numbers(6, (10,)))) == (None, None)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_bulyan_selects_as_flower_does() -> None:
    strategy = flower.Bulyan(num_malicious_nodes=1)
    expected = aggregated(strategy, replies(numbers(9, (50,))))
    with column_blocks():
        assert aggregated(strategy, replies(numbers(9, (50,)))).tobytes() == expected.tobytes()


@pytest.mark.parametrize("width", [2, 127, 128, 129, 130, 256, 257, 385])
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
    block = 7 << 20
    """What a strategy makes of a block."""
    assert peak(7) < 3 * size + block + 7 * piece
    assert peak(14) < 3 * size + block + 14 * piece < 2 * 14 * size


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
    given = [np.asarray(array * 100) for array in np.random.default_rng(3).random((7, 300, 40))]
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
        _, metrics = strategy.aggregate_train(1, replies(numbers(7, (10,))))
    assert metrics is not None
    assert metrics == strategy.aggregate_train(1, replies(numbers(7, (10,))))[1]


def test_different_shapes_are_the_error_that_flower_raises() -> None:
    given = [np.ones(10), np.ones(11)]
    with column_blocks(), pytest.raises(AggregationError, match="beta"):
        aggregated(STRATEGIES[1], replies(given))
    with column_blocks(), pytest.raises(ValueError, match="same shape"):
        aggregated(STRATEGIES[0], replies(given))
    with column_blocks(), pytest.raises(ValueError, match="inhomogeneous"):
        aggregated(BULYAN, replies([*[np.ones(10)] * 5, *given]))


def test_small_stacks_are_made_at_once(stacked: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocks, "WORTH_IT", 3 * 40_000 + 1)
    with column_blocks():
        aggregated(STRATEGIES[0], replies(numbers(3, (10_000,))))
    assert stacked == [3 * 40_000]


def test_flowers_own_code_is_there_afterwards_and_all_along_in_a_release_that_computes_in_another_way(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    replaced = [flower.FedMedian, flower.FedTrimmedAvg, flower.Bulyan]
    before = [each.aggregate_train for each in replaced]
    with column_blocks():
        assert all(each.aggregate_train is not own for each, own in zip(replaced, before, strict=True))
    assert [each.aggregate_train for each in replaced] == before

    def trim_mean(array: np.ndarray, cut_fraction: float) -> np.ndarray:
        return array[int(cut_fraction)]

    monkeypatch.setattr(fedtrimmedavg, "trim_mean", trim_mean)
    monkeypatch.setattr(bulyan, "aggregate_n_closest_weights", lambda *_: [])
    with column_blocks():
        assert [each.aggregate_train for each in replaced] == before


@pytest.mark.parametrize("strategy", STRATEGIES[:2], ids=lambda each: type(each).__name__)
def test_bytes_that_are_no_numbers_are_the_error_that_flower_raises(strategy: FedAvg) -> None:
    given = replies(numbers(2, (10,)))
    given[1].content.array_records["arrays"]["a"].data = b"no numbers"
    with column_blocks(), pytest.raises(ValueError, match="pickled"):
        aggregated(strategy, given)

"""Numbers of lazy arrays: what ``numpy.load`` gives, without the bytes staying in memory."""

from __future__ import annotations

import tracemalloc
from collections import Counter

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, MetricRecord, RecordDict
from flwr.serverapp.strategy.strategy_utils import aggregate_arrayrecords

from protocol.blocks.cid import CID, MemoryBlocks
from strategy.contents.arrays import LazyArray
from strategy.contents.codec import decode, encode

SIZE = 1_500_000
"""Bytes of an array here: two chunks, the second not full."""

KINDS = {
    "float32": np.arange(SIZE // 4, dtype=np.float32),
    "columns first": np.asfortranarray(np.arange(SIZE // 8, dtype=np.float64).reshape(3, -1)),
    "another order of bytes": np.arange(SIZE // 4, dtype=">i4"),
    "half": np.arange(SIZE // 2, dtype=np.float16).reshape(2, 1, -1),
    "complex": np.arange(SIZE // 16, dtype=np.complex128),
    "bool": np.arange(SIZE) % 3 == 0,
    "dates": np.arange(SIZE // 8).astype("datetime64[s]"),
    "text": np.full(SIZE // 40, "some text", dtype="<U10"),
    "fields": np.zeros(SIZE // 8, dtype=[("a", "<f4"), ("b", "<i4")]),
}


class Counted:
    """A source that counts how often each block is read."""

    def __init__(self, records: RecordDict) -> None:
        encoded = encode(records, None)
        self.root = encoded.root
        self.reads: Counter[CID] = Counter()
        self._blocks = MemoryBlocks({block.cid: block.data for block in encoded.blocks()})

    def get(self, cid: CID) -> bytes:
        self.reads[cid] += 1
        return self._blocks.get(cid)

    def array(self) -> Array:
        """The only array of the content, opened anew."""
        return decode(self.root, self, None).array_records["arrays"]["a"]


def content(numbers: np.ndarray, examples: int = 1) -> RecordDict:
    """A reply of one array."""
    metrics = MetricRecord({"num-examples": examples})
    return RecordDict({"arrays": ArrayRecord({"a": Array(numbers)}), "metrics": metrics})


@pytest.mark.parametrize("kind", KINDS)
def test_numbers_are_what_flower_itself_makes_of_the_bytes(kind: str) -> None:
    sent = content(KINDS[kind])
    expected = sent.array_records["arrays"]["a"].numpy()
    array = Counted(sent).array()
    assert isinstance(array, LazyArray)
    for found in (array.numpy(), array.numpy()):
        assert (found.dtype.str, found.shape, found.strides) == (expected.dtype.str, expected.shape, expected.strides)
        assert found.tobytes() == expected.tobytes()
        assert found.flags.writeable


def test_the_first_who_wants_numbers_keeps_no_bytes_and_no_block_is_read_more_than_twice() -> None:
    source = Counted(content(KINDS["float32"]))
    array = source.array()
    begun = Counter(source.reads)
    array.numpy()[:] = 0  # they are the caller's own
    assert set((source.reads - begun).values()) == {1}
    assert "data" not in vars(array)
    for _ in range(3):
        assert np.array_equal(array.numpy(), KINDS["float32"])
    assert "data" in vars(array)
    assert set((source.reads - begun).values()) == {2}


@pytest.mark.parametrize("data", [Array(KINDS["float32"]).data[:-1], b"no numbers" * 1000], ids=["cut", "other"])
def test_bytes_that_numpy_refuses_are_refused_by_flower(data: bytes) -> None:
    record = ArrayRecord({"a": Array(KINDS["float32"])})
    record["a"].data = data
    array = Counted(RecordDict({"arrays": record})).array()
    with pytest.raises(ValueError, match=r"EOF|pickled"):
        array.numpy()


def test_a_sum_over_many_replies_takes_no_more_memory_than_over_few() -> None:
    def peak(replies: int) -> int:
        sources = [Counted(content(np.full(SIZE // 4, number, dtype=np.float32), 1)) for number in range(replies)]
        tracemalloc.start()
        try:
            records = [decode(source.root, source, None) for source in sources]
            mean = aggregate_arrayrecords(records, "num-examples")
            assert mean["a"].numpy()[0] == (replies - 1) / 2
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    assert peak(16) < peak(2) + SIZE // 2

"""Numbers of lazy arrays: what ``numpy.load`` gives, without the bytes staying in memory."""

from __future__ import annotations

import errno
import mmap
import os
import tracemalloc
from collections import Counter
from functools import partial
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, MetricRecord, RecordDict
from flwr.serverapp.strategy.strategy_utils import aggregate_arrayrecords
from numpy.lib import format as npy

from crypto.symmetric import ChunkNonce
from protocol.blocks.cid import CID, MemoryBlocks
from protocol.blocks.content import ContentKey
from strategy.contents.arrays import LazyArray
from strategy.contents.codec import decode, encode
from strategy.contents.kept_replies import KeptReplies
from strategy.replies.examination import examine, read_sent

SIZE = 1_500_000
"""Bytes of an array here: two chunks, the second not full."""

KEY = ContentKey(3, bytes(32), ChunkNonce.GMAC)

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

    def __init__(self, records: RecordDict, key: ContentKey | None = None) -> None:
        encoded = encode(records, key)
        self._key = key
        self.root = encoded.root
        self.reads: Counter[CID] = Counter()
        self._blocks = MemoryBlocks({block.cid: block.data for block in encoded.blocks()})

    def get(self, cid: CID) -> bytes:
        self.reads[cid] += 1
        return self._blocks.get(cid)

    def records(self) -> RecordDict:
        """The content, opened anew."""
        return decode(self.root, self, self._key)

    def array(self) -> Array:
        """Its only array."""
        return self.records().array_records["arrays"]["a"]

    def examined(self, kept: KeptReplies) -> RecordDict | None:
        """The content, as an app gets it after it was examined as an answer to itself; None if it was not kept."""
        sent = read_sent(self.root, self, self._key)
        keep = partial(kept.make_room, b"message", hidden=self._key is not None)
        found, records = examine(self.root, self, self._key, sent, self.records, update=True, keep=keep)
        assert found.failed == ()
        kept.put(b"message", self.root, records)
        return kept.take(b"message", self.root)

    def filed(self, folder: Path) -> Array:
        """Its array, examined and in a file."""
        records = self.examined(KeptReplies(folder))
        assert records is not None
        return records.array_records["arrays"]["a"]


def content(numbers: np.ndarray, examples: int = 1) -> RecordDict:
    """A reply of one array."""
    metrics = MetricRecord({"num-examples": examples})
    return RecordDict({"arrays": ArrayRecord({"a": Array(numbers)}), "metrics": metrics})


@pytest.mark.parametrize("place", ["blocks", "file", "hidden file"])
@pytest.mark.parametrize("kind", KINDS)
def test_numbers_are_what_flower_itself_makes_of_the_bytes(kind: str, place: str, tmp_path: Path) -> None:
    sent = content(KINDS[kind])
    expected = sent.array_records["arrays"]["a"].numpy()
    source = Counted(sent, KEY if place == "hidden file" else None)
    array = source.array() if place == "blocks" else source.filed(tmp_path)
    assert isinstance(array, LazyArray)
    for found in (array.numpy(), array.numpy()):
        assert (found.dtype.str, found.shape, found.strides) == (expected.dtype.str, expected.shape, expected.strides)
        assert found.tobytes() == expected.tobytes()
        assert found.flags.writeable


@pytest.mark.parametrize("kind", ["S", "U"])
def test_values_without_bytes_are_no_memory_that_was_used_before(kind: str) -> None:
    sent = Array(np.zeros(SIZE, dtype=f"{kind}1"))
    sent.data = sent.data.replace(f"{kind}1'".encode(), f"{kind}0'".encode())
    found = Counted(RecordDict({"arrays": ArrayRecord({"a": sent})})).array().numpy()
    assert (found.shape, found.dtype, found.tobytes()) == ((SIZE,), np.dtype(f"{kind}0"), b"")


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


@pytest.mark.parametrize("key", [None, KEY], ids=["plain", "encrypted"])
def test_each_block_of_an_array_is_read_once_to_examine_it_and_never_for_the_app(
    key: ContentKey | None, tmp_path: Path
) -> None:
    source = Counted(content(KINDS["float32"]), key)
    sent = read_sent(source.root, source, key)  # reads the first chunk, where numpy's header is
    before = Counter(source.reads)
    array = source.filed(tmp_path)
    assert sent.size
    reads = source.reads - before - before  # as it was read as what was sent, too
    assert set(reads.values()) == {1}
    so_far = Counter(source.reads)
    for _ in range(3):
        assert np.array_equal(array.numpy(), KINDS["float32"])
    assert source.reads == so_far
    assert "data" not in vars(array)


def test_arrays_of_one_piece_are_looked_at_without_a_mapping(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a mapping")

    source = Counted(content(KINDS["float32"][:250_000]))
    with monkeypatch.context() as patched:
        patched.setattr(mmap, "mmap", refuse)
        array = source.filed(tmp_path)
    assert np.array_equal(array.numpy(), KINDS["float32"][:250_000])
    assert isinstance(array, LazyArray)  # it stays in its file


def test_who_writes_into_the_numbers_of_an_examined_reply_changes_nobody_elses(tmp_path: Path) -> None:
    array = Counted(content(KINDS["float32"])).filed(tmp_path)
    first, second = array.numpy(), array.numpy()
    first[:] = 0
    third = array.numpy()
    assert (first.sum(), first.flags.writeable) == (0, True)
    for numbers in (second, third, array.data and array.numpy()):
        assert np.array_equal(numbers, KINDS["float32"])


@pytest.mark.parametrize("size", [8_000, SIZE], ids=["in the body", "in chunks"])
@pytest.mark.parametrize("key", [None, KEY], ids=["plain", "encrypted"])
def test_an_array_that_came_and_is_given_other_bytes_is_sent_with_those(key: ContentKey | None, size: int) -> None:
    came, other = Counted(content(np.zeros(size // 4)), key).records(), content(np.ones(size // 4))
    came.array_records["arrays"]["a"].data = other.array_records["arrays"]["a"].data
    assert encode(came, key).root == encode(other, key).root


@pytest.mark.parametrize("key", [None, KEY], ids=["plain", "encrypted"])
def test_what_came_encrypted_is_not_on_the_disk_in_the_clear(
    key: ContentKey | None, tmp_path: Path, written: list[bytes]
) -> None:
    Counted(content(KINDS["float32"]), key).filed(tmp_path)
    assert (KINDS["float32"][-1000:].tobytes() in b"".join(written)) == (key is None)


def test_numbers_outlive_the_reply_that_they_are_of(tmp_path: Path) -> None:
    numbers = Counted(content(KINDS["float32"])).filed(tmp_path).numpy()
    assert np.array_equal(numbers, KINDS["float32"])


def test_numbers_are_read_if_the_kernel_allows_no_further_mapping(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))

    array = Counted(content(KINDS["float32"])).filed(tmp_path)
    monkeypatch.setattr(mmap, "mmap", refuse)
    assert np.array_equal(array.numpy(), KINDS["float32"])


def test_a_reply_whose_file_breaks_is_examined_and_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    source = Counted(content(KINDS["float32"]))
    monkeypatch.setattr(os, "pwrite", fail)
    assert source.examined(KeptReplies(tmp_path)) is None
    assert np.array_equal(source.array().numpy(), KINDS["float32"])


def of_pairs(count: int) -> bytes:
    """Numbers whose type is said to be two of them."""
    file = BytesIO()
    npy.write_array_header_1_0(file, {"descr": ("<f4", (2,)), "fortran_order": False, "shape": (count,)})
    return file.getvalue() + bytes(8 * count)


@pytest.mark.parametrize(
    "data",
    [Array(KINDS["float32"]).data[:-1], b"no numbers" * 1000, of_pairs(1000)],
    ids=["cut", "other", "pairs"],
)
def test_bytes_that_numpy_refuses_are_refused_by_flower(data: bytes) -> None:
    record = ArrayRecord({"a": Array(KINDS["float32"])})
    record["a"].data = data
    array = Counted(RecordDict({"arrays": record})).array()
    with pytest.raises(ValueError, match=r"EOF|pickled|read all"):
        array.numpy()


@pytest.mark.parametrize("place", ["blocks", "file", "hidden file"])
def test_a_sum_over_many_replies_takes_no_more_memory_than_over_few(place: str, tmp_path: Path) -> None:
    kept, key = KeptReplies(tmp_path), KEY if place == "hidden file" else None

    def handed(source: Counted) -> RecordDict:
        records = source.records() if place == "blocks" else source.examined(kept)
        assert records is not None
        return records

    def peak(replies: int) -> int:
        sources = [Counted(content(np.full(SIZE // 4, number, dtype=np.float32), 1), key) for number in range(replies)]
        tracemalloc.start()
        try:
            mean = aggregate_arrayrecords([handed(source) for source in sources], "num-examples")
            assert mean["a"].numpy()[0] == (replies - 1) / 2
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    assert peak(16) < peak(2) + SIZE // 2


def test_all_numbers_of_many_examined_replies_at_once_take_no_memory_of_their_own(tmp_path: Path) -> None:
    kept = KeptReplies(tmp_path)
    sources = [Counted(content(np.full(SIZE // 4, number, dtype=np.float32))) for number in range(8)]
    tracemalloc.start()
    try:
        replies = [source.examined(kept) for source in sources]
        numbers = [reply.array_records["arrays"]["a"].numpy() for reply in replies if reply is not None]
        assert [int(each[-1]) for each in numbers] == list(range(8))
        assert tracemalloc.get_traced_memory()[0] < SIZE
    finally:
        tracemalloc.stop()

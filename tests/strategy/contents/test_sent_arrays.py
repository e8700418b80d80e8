"""`strategy.contents.sent_arrays`: what an app keeps of what it sent takes no memory, and is what it was."""

from __future__ import annotations

import errno
import os
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, RecordDict

from crypto.symmetric import ChunkNonce
from protocol.blocks.content import ContentKey
from strategy.contents.arrays import LazyArray, as_it_is
from strategy.contents.codec import encode
from strategy.contents.sent_arrays import SentArrays

SIZE = 1_500_000
"""Bytes of an array here."""
NUMBERS = np.arange(SIZE // 4, dtype=np.float32)
KEY = ContentKey(3, bytes(32), ChunkNonce.GMAC)


def model() -> RecordDict:
    return RecordDict({"arrays": ArrayRecord({"a": Array(NUMBERS), "small": Array(NUMBERS[:4])})})


def moved(folder: Path, *, hidden: bool = False) -> RecordDict:
    sent = model()
    SentArrays(folder).move([sent], hidden=hidden)
    return sent


def is_in_memory(records: RecordDict) -> bool:
    return "data" in vars(records.array_records["arrays"]["a"])


@pytest.mark.parametrize("hidden", [False, True])
@pytest.mark.parametrize("key", [None, KEY], ids=["plain", "encrypted"])
def test_what_was_sent_is_encoded_alike_again_without_coming_into_memory(
    key: ContentKey | None, tmp_path: Path, *, hidden: bool
) -> None:
    sent = moved(tmp_path, hidden=hidden)
    before, again = encode(model(), key), encode(sent, key)
    assert (again.root, list(again.blocks())) == (before.root, list(before.blocks()))
    assert not is_in_memory(sent)


def test_numbers_may_be_written_to_and_what_was_sent_stays(tmp_path: Path) -> None:
    sent = moved(tmp_path)
    numbers = sent.array_records["arrays"]["a"].numpy()
    numbers[:] = 0
    assert encode(sent, None).root == encode(model(), None).root
    assert sent == model()


def test_an_array_that_the_app_gives_other_bytes_is_sent_with_those(tmp_path: Path) -> None:
    sent, other = moved(tmp_path), Array(NUMBERS + 1)
    array = sent.array_records["arrays"]["a"]
    array.data = other.data
    expected = RecordDict({"arrays": ArrayRecord({"a": other, "small": Array(NUMBERS[:4])})})
    assert encode(sent, None).root == encode(expected, None).root
    assert np.array_equal(array.numpy(), NUMBERS + 1)
    assert sent == expected


@pytest.mark.parametrize(
    "memory",
    [lambda data: data, memoryview, lambda data: memoryview(data).cast("I")],
    ids=["a bytearray", "a view", "a view of numbers"],
)
def test_bytes_that_the_app_may_change_are_sent_as_they_are_then(
    memory: Callable[[bytearray], bytes], tmp_path: Path
) -> None:
    data = bytearray(Array(NUMBERS).data)
    sent = model()
    sent.array_records["arrays"]["a"].data = memory(data)
    SentArrays(tmp_path).move([sent], hidden=False)
    assert encode(sent, None).root == encode(model(), None).root
    data[-4:] = Array(NUMBERS[:1] + 1).data[-4:]
    assert encode(sent, None).root != encode(model(), None).root


def test_the_arrays_that_the_app_holds_are_the_ones_that_are_moved(tmp_path: Path) -> None:
    arrays = model().array_records["arrays"]
    first, second = RecordDict({"arrays": arrays}), RecordDict({"other": arrays})
    SentArrays(tmp_path).move([first, second, first], hidden=False)
    assert isinstance(arrays["a"], LazyArray)
    assert type(arrays["small"]) is Array
    assert arrays["a"].data == Array(NUMBERS).data


def test_a_copy_of_a_model_leaves_it_where_it_is(tmp_path: Path) -> None:
    sent = moved(tmp_path).array_records["arrays"]
    copied = as_it_is(sent)
    sent["a"] = Array(NUMBERS[:7])
    assert "data" not in vars(copied["a"])
    assert copied["a"].data == Array(NUMBERS).data


def test_what_is_sent_encrypted_is_not_on_the_disk_in_the_clear(tmp_path: Path, written: list[bytes]) -> None:
    moved(tmp_path, hidden=True)
    assert written
    assert NUMBERS[-1000:].tobytes() not in b"".join(written)


def test_it_is_remembered_that_something_was_hidden(tmp_path: Path) -> None:
    sent = SentArrays(tmp_path)
    for hidden, hides in ((False, False), (True, True), (False, True)):
        sent.move([RecordDict()], hidden=hidden)
        assert sent.hides == hides


@pytest.mark.parametrize("fails", ["posix_fallocate", "pwrite"])
def test_without_room_on_the_disk_they_stay_in_memory(
    fails: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, fails, full)
    sent = moved(tmp_path)
    assert is_in_memory(sent)
    assert sent == model()


def test_no_more_files_are_open_than_may_be_and_one_ends_with_its_arrays(tmp_path: Path) -> None:
    sent = SentArrays(tmp_path, files=2)
    models = [model() for _ in range(3)]
    for each in models:
        sent.move([each], hidden=False)
    assert list(map(is_in_memory, models)) == [False, False, True]
    del models[0]
    sent.move([models[-1]], hidden=False)
    assert not is_in_memory(models[-1])


def test_many_models_that_were_sent_take_no_memory(tmp_path: Path) -> None:
    sent = SentArrays(tmp_path)
    tracemalloc.start()
    try:
        models = [model() for _ in range(8)]
        for each in models:
            sent.move([each], hidden=False)
        assert tracemalloc.get_traced_memory()[0] < SIZE
    finally:
        tracemalloc.stop()

"""`strategy.hosting.paged_distances`: Krum's matrices in a file, and the same bits."""

from __future__ import annotations

import resource
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord
from flwr.serverapp.strategy import multikrum

from strategy.hosting import paged_distances as paging
from strategy.hosting.paged_distances import paged_distances


def updates(count: int, dtype: str = "float32", size: int = 50_000) -> list[ArrayRecord]:
    generator = np.random.default_rng(7)

    def numbers(*shape: int) -> np.ndarray:
        return generator.normal(size=shape).astype(dtype)

    columns = [np.asfortranarray(numbers(300, 7)) for _ in range(count)]
    return [ArrayRecord({"a": Array(numbers(size)), "b": Array(columns[at])}) for at in range(count)]


@pytest.fixture
def no_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paging, "memory_left", lambda: 0)


@pytest.fixture
def in_files(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The sizes of the files that are made."""
    made: list[int] = []
    new_file = paging.new_file

    def noted(folder: Path, size: int) -> int:
        made.append(size)
        return new_file(folder, size)

    monkeypatch.setattr(paging, "new_file", noted)
    return made


@pytest.mark.usefixtures("no_memory")
@pytest.mark.parametrize("count", [1, 3, 16])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_bits_are_those_of_flowers_own_function(
    dtype: str, count: int, tmp_path: Path, in_files: list[int]
) -> None:
    records = updates(count, dtype)
    expected = multikrum.compute_distances(records)
    with paged_distances(tmp_path, lambda: False):
        found = multikrum.compute_distances(records)
    assert (found.dtype, found.tobytes()) == (expected.dtype, expected.tobytes())
    assert in_files == [2 * count * (50_000 + 2100) * np.dtype(dtype).itemsize]


@pytest.mark.usefixtures("no_memory")
def test_memory_does_not_grow_with_the_updates(tmp_path: Path) -> None:
    records = updates(12)
    with paged_distances(tmp_path, lambda: False):
        tracemalloc.start()
        try:
            multikrum.compute_distances(records)
            assert tracemalloc.get_traced_memory()[1] < 3 * 4 * 50_000  # of one update, and not of twelve
        finally:
            tracemalloc.stop()


@pytest.mark.parametrize("memory", [0, 1 << 40])
@pytest.mark.parametrize("hidden", [False, True])
def test_no_file_is_made_if_there_is_memory_or_if_nothing_may_be_on_the_disk(
    memory: int, tmp_path: Path, in_files: list[int], monkeypatch: pytest.MonkeyPatch, *, hidden: bool
) -> None:
    monkeypatch.setattr(paging, "memory_left", lambda: memory)
    with paged_distances(tmp_path, lambda: hidden):
        multikrum.compute_distances(updates(3))
    assert bool(in_files) == (not hidden and not memory)


@pytest.mark.usefixtures("no_memory")
@pytest.mark.parametrize("dtype", ["int64", "complex64", ">f4"])
def test_what_is_no_usual_number_is_left_to_flower(dtype: str, tmp_path: Path, in_files: list[int]) -> None:
    records = updates(3, dtype)
    expected = multikrum.compute_distances(records)
    with paged_distances(tmp_path, lambda: False):
        found = multikrum.compute_distances(records)
    assert (found.dtype, found.tobytes(), in_files) == (expected.dtype, expected.tobytes(), [])


@pytest.mark.usefixtures("no_memory")
@pytest.mark.parametrize("lacks", [0, 4])
def test_they_take_a_quarter_of_what_the_app_may_write_since_the_rest_is_for_replies_and_what_was_sent(
    lacks: int, tmp_path: Path, in_files: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    most = 4 * (2 * 3 * (50_000 + 2100) * 4) - lacks
    limits = {resource.RLIMIT_FSIZE: most}
    monkeypatch.setattr(resource, "getrlimit", lambda kind: (limits.get(kind, resource.RLIM_INFINITY), -1))
    with paged_distances(tmp_path, lambda: False):
        multikrum.compute_distances(updates(3))
    assert bool(in_files) == (not lacks)


def test_flowers_own_function_is_there_afterwards(tmp_path: Path) -> None:
    before = multikrum.compute_distances
    with paged_distances(tmp_path, lambda: False):
        assert multikrum.compute_distances is not before
    assert multikrum.compute_distances is before


def test_the_memory_that_is_left_is_less_than_the_machines() -> None:
    total = sum(paging._numbers("/proc/meminfo", "MemTotal:")) << 10
    assert 0 < paging.memory_left() < total

"""The distances between all updates, as Flower's Krum, MultiKrum and Bulyan compute them, where memory is too small.

Flower puts all updates into one matrix, and makes another of its size. If both together are more than there is memory
for, they are mapped from a file without a name here, so the kernel pages them. What is computed is the same, step by
step, with the same routines of numpy: so are the bits.
"""

from __future__ import annotations

import math
import mmap
import os
import resource
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

import numpy as np
from flwr.app import ArrayRecord
from flwr.serverapp.strategy import multikrum
from numpy.typing import NDArray

from strategy.contents.array_files import new_file, room_for_files
from strategy.contents.npy import declared
from strategy.flower_compat import source_hash

_KNOWN: Final = frozenset({"fb7f97d52cf0b8c1c1ed32457a3e707449fb1eef742edd4c2c72cb07fcf558bc"})
"""SHA-256 of the sources of Flower's function that compute as is done here. Another one is left as it is."""
_KINDS: Final = frozenset(map(np.dtype, ("float32", "float64")))
_MATRICES: Final = 2

_SHARE: Final = 4
"""Which part of the room on the disk they may have. Half of it is for replies, and a quarter for what was sent: no
more together than an app may take."""

Matrix = NDArray[Any]


@contextmanager
def paged_distances(folder: Path, hidden: Callable[[], bool]) -> Iterator[None]:
    """Have Flower's code compute distances so. ``folder`` is on the disk for the files. If what is computed with is
    ``hidden`` from whoever reads the disk, all stays in memory."""
    plain = multikrum.compute_distances
    if source_hash(plain) not in _KNOWN:
        yield
        return

    def compute_distances(records: list[ArrayRecord]) -> Matrix:
        matrices = None if hidden() else _matrices(folder, records)
        return plain(records) if matrices is None else _distances(*matrices, records)

    multikrum.compute_distances = compute_distances
    try:
        yield
    finally:
        multikrum.compute_distances = plain


def memory_left() -> int:
    """Bytes that this process may still take without the machine, or its container, running out of them."""
    found = [sum(_numbers("/proc/meminfo", "MemAvailable:")) << 10]
    most, taken = _numbers("/sys/fs/cgroup/memory.max"), _numbers("/sys/fs/cgroup/memory.current")
    if most and taken:
        found.append(most[0] - taken[0])
    bound, _ = resource.getrlimit(resource.RLIMIT_DATA)
    if bound != resource.RLIM_INFINITY:
        found.append(bound - (sum(_numbers("/proc/self/status", "VmData:")) << 10))
    return min(found)


def _matrices(folder: Path, records: Sequence[ArrayRecord]) -> tuple[Matrix, Matrix] | None:
    """Two matrices in a file, with a row for each record; None if they are not needed, or cannot be had."""
    found = [[declared(array) for array in record.values()] for record in records]
    arrays = [each for listed in found for each in listed if each is not None]
    widths = {sum(math.prod(each.shape) for each in listed if each is not None) for listed in found}
    dtypes = {each.dtype for each in arrays}
    if len(arrays) < sum(map(len, found)) or len(widths) != 1 or len(dtypes) != 1 or not dtypes <= _KINDS:
        return None
    (width,), (dtype,) = widths, dtypes
    size = _MATRICES * len(records) * width * dtype.itemsize
    if any(each.swapped for each in arrays) or 2 * size <= memory_left():
        return None
    if size > room_for_files(folder, taken=0, share=_SHARE):
        return None
    try:
        descriptor = new_file(folder, size)
        try:
            mapping = mmap.mmap(descriptor, size)  # shared: what is written goes to the file, and out of memory
        finally:
            os.close(descriptor)
    except (OSError, ValueError):
        return None
    one, other = np.frombuffer(mapping, dtype).reshape(_MATRICES, len(records), width)
    return one, other


def _distances(flat: Matrix, scratch: Matrix, records: Sequence[ArrayRecord]) -> Matrix:
    """As ``flwr.serverapp.strategy.multikrum.compute_distances``."""
    for row, record in zip(flat, records, strict=True):
        at = 0
        for array in record.values():
            numbers = array.numpy().ravel()
            row[at : at + len(numbers)] = numbers
            at += len(numbers)
    np.square(flat, out=scratch)
    norms: Matrix = scratch.sum(axis=1)
    np.multiply(2, flat, out=scratch)
    distances: Matrix = norms[:, None] + norms[None, :] - scratch @ flat.T
    return distances


def _numbers(file: str, name: str = "") -> list[int]:
    """The numbers in a file, or in its lines that begin with a ``name``."""
    with suppress(OSError):
        lines = [line.split() for line in Path(file).read_text().splitlines() if line.startswith(name)]
        return [int(word) for line in lines for word in line if word.isdigit()]
    return []

"""The numbers of an array in numpy's file format, as views of its bytes. Nothing larger than those bytes is allocated.

``numpy.load`` copies, and allocates as many numbers as the header declares. The format:
https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from io import BytesIO
from itertools import chain
from typing import Any, Final

import numpy as np
from flwr.app import Array
from numpy.lib import format as npy
from numpy.typing import NDArray

from strategy.contents.arrays import beginning, mapped, pieces_of, size_of, whole

NUMPY: Final = "numpy.ndarray"
"""Flower's ``stype`` of arrays whose bytes are in numpy's format. No others are opened."""

_HEADER: Final = 64 << 10
"""Bytes in which a header is looked for. numpy accepts headers of up to 10,000 characters."""
_MAX_RANK: Final = 64
"""numpy's ``NPY_MAXDIMS``."""
_PIECE: Final = 1 << 16
"""How many numbers are computed on at once, so that they stay in the processor's cache."""

_READERS: Final = {
    (1, 0): npy.read_array_header_1_0,
    (2, 0): npy.read_array_header_2_0,
    (3, 0): npy.read_array_header_2_0,  # it differs in the names of fields only, and what has fields is no number
}

Numbers = NDArray[Any]


@dataclass(frozen=True, slots=True)
class Stored:
    """What the bytes of an array say they are."""

    dtype: np.dtype[Any]
    """In the byte order of this machine."""
    shape: tuple[int, ...]
    fortran: bool
    swapped: bool
    """Whether the bytes are in the other byte order."""
    start: int
    """Where the numbers begin."""

    @property
    def size(self) -> int:
        """How many bytes the numbers take."""
        return math.prod(self.shape) * self.dtype.itemsize


def stored(array: Array, *, any_type: bool = False) -> Stored | None:
    """What ``array`` is; None if it is not in numpy's format, or incomplete. ``any_type``: its ``stype`` need not be
    `NUMPY`, because Flower's older strategies do not read that."""
    what = declared(array, any_type=any_type)
    if what is None or what.start + what.size > len(whole(array)):
        return None
    return what


def declared(array: Array, *, any_type: bool = False) -> Stored | None:
    """As `stored`, but it may be incomplete: only its beginning, with the header, is read."""
    if array.stype != NUMPY and not any_type:
        return None
    return _in_header(beginning(array))


def _in_header(begin: bytes | memoryview) -> Stored | None:
    """What the first bytes of an array say."""
    end = 10 + int.from_bytes(begin[8:10], "little") if begin[6:7] == b"\x01" else _HEADER
    return _declared(bytes(begin[: min(end, _HEADER)]))


@lru_cache(64)
def _declared(begin: bytes) -> Stored | None:
    """What a header says. The arrays of a model begin alike in each round, and parsing takes longer than comparing."""
    file = BytesIO(begin)
    try:
        shape, fortran, dtype = _READERS[npy.read_magic(file)](file)
    except Exception:  # noqa: BLE001  # numpy lets Python's own tokenizer and parser read what a stranger wrote
        return None
    if dtype.hasobject or dtype.subdtype is not None or min(shape, default=0) < 0:
        return None  # of arrays within an array numpy makes one of another shape, and does not read it
    if len(shape) > _MAX_RANK or math.prod(filter(None, shape)) * dtype.itemsize > sys.maxsize:
        return None  # numpy makes no such array, even if it is empty
    native = dtype.newbyteorder("=")
    return Stored(native, shape, fortran and len(shape) > 1, native != dtype, file.tell())


def read_numbers(array: Array) -> NDArray[Any] | None:
    """What ``numpy.load`` makes of the bytes of ``array``: read a piece at a time into the numbers' own memory, or, if
    they are in a file, mapped from there. None if they are not in numpy's format, or incomplete, or have a type that
    only ``numpy.load`` can tell or refuse."""
    view = mapped(array)
    pieces: Iterator[bytes | memoryview] = pieces_of(array) if view is None else iter((view,))
    piece = next(pieces, b"")
    what = _in_header(piece) if array.stype == NUMPY else None
    if what is None or what.start + what.size > size_of(array) or what.dtype.names is not None:
        return None
    if not what.dtype.itemsize:  # numpy would make it one byte long, and nothing is read into that
        return None
    dtype = what.dtype.newbyteorder("S") if what.swapped else what.dtype
    shape = what.shape[::-1] if what.fortran else what.shape
    if view is not None and what.size and what.start % dtype.alignment == 0:  # torch takes no others
        found = np.frombuffer(view, dtype, math.prod(shape), what.start).reshape(shape)
    else:
        found = np.empty(shape, dtype)
        _fill(found.reshape(-1).view(np.uint8), chain((piece,), pieces), what)
    return found.transpose() if what.fortran else found


def _fill(into: NDArray[np.uint8], pieces: Iterable[bytes | memoryview], what: Stored) -> None:
    at = -what.start
    for each in pieces:
        begin, end = max(at, 0), min(at + len(each), what.size)
        if begin < end:
            into[begin:end] = np.frombuffer(each, np.uint8, end - begin, begin - at)
        at += len(each)


def opened(array: Array) -> NDArray[Any]:
    """A copy of ``array`` as a numpy array. Use it instead of Flower's ``Array.numpy``: numpy's own reader raises
    errors of any kind on a stranger's bytes.

    Raises:
        ValueError: if its bytes are no array in numpy's format, or not all of one.
    """
    if array.stype != NUMPY:
        raise ValueError(f"its bytes are said to be of the type {array.stype[:80]!r}")
    what = stored(array)
    if what is None:
        raise ValueError("its bytes are no array in numpy's format, or not all of one")
    dtype = what.dtype.newbyteorder("S") if what.swapped else what.dtype
    flat = np.frombuffer(array.data, dtype, math.prod(what.shape), what.start).copy()
    return flat.reshape(what.shape, order="F" if what.fortran else "C")


def numbers(array: Array, what: Stored | None) -> Numbers | None:
    """The numbers of ``array`` in the order of its bytes, not copied; None if they are no numbers."""
    if what is None or not _holds_numbers(array, what):
        return None
    dtype = what.dtype.newbyteorder("S") if what.swapped else what.dtype
    flat = np.frombuffer(whole(array), dtype, math.prod(what.shape), what.start)
    return flat if what.dtype.kind != "V" else flat.view(np.uint16).view(_BFLOAT16)


_BFLOAT16: Final = np.dtype([("bfloat16", np.uint16)])
"""numpy has no bfloat16, and stores it as two bytes without a meaning."""


def _holds_numbers(array: Array, what: Stored) -> bool:
    return what.dtype.kind in "biufc" or _is_bfloat16(array, what)


def _is_bfloat16(array: Array, what: Stored) -> bool:
    return array.dtype == "bfloat16" and what.dtype.kind == "V" and what.dtype.itemsize == 2 and not what.dtype.names


def number_pieces(array: Array, what: Stored, count: int) -> Iterator[Numbers]:
    """The numbers of ``array``, ``count`` at a time: those of float32 as they are, others as float64 (complex ones as
    pairs of them). A lazy array is read a chunk at a time, and nothing of it is kept.

    Raises:
        ValueError: if they are no numbers, or not all of them are there.
    """
    if not _holds_numbers(array, what):
        raise ValueError(f"an array of {str(what.dtype)[:80]} holds no numbers")
    for piece in raw_pieces(array, what, count):
        yield _wide(piece)


def raw_pieces(array: Array, what: Stored, count: int) -> Iterator[Numbers]:
    """As `number_pieces`, but of their own type.

    Raises:
        ValueError: if not all of them are there.
    """
    step = count * what.dtype.itemsize
    dtype = what.dtype.newbyteorder("S") if what.swapped else what.dtype
    waiting, skip, left = b"", what.start, what.size
    for piece in pieces_of(array):
        taken = memoryview(piece)[skip : skip + left]
        skip, left = max(0, skip - len(piece)), left - len(taken)
        held = memoryview(waiting + bytes(taken)) if waiting else taken
        ready = len(held) if not left else len(held) // step * step
        for at in range(0, ready, step):
            yield np.frombuffer(held[at : min(at + step, ready)], dtype)
        waiting = bytes(held[ready:])
    if left:
        raise ValueError("an array has fewer bytes than it says")


def _wide(flat: Numbers) -> Numbers:
    if flat.dtype == np.float32:  # numpy widens it as it computes, which takes less than a copy
        return flat
    if flat.dtype.kind == "V":
        flat = _readable(flat.view(np.uint16).view(_BFLOAT16))
    if flat.dtype.kind == "c":
        return flat.astype(np.complex128).view(np.float64)
    return flat.astype(np.float64)


def count_not_finite(values: Numbers) -> int:
    """How many of ``values`` are NaN or infinite."""
    if values.dtype.kind in "biu":
        return 0
    return sum(
        len(piece) - int(np.count_nonzero(np.isfinite(piece)))
        for piece in (_readable(values[at : at + _PIECE]) for at in range(0, len(values), _PIECE))
    )


def not_finite(values: Numbers) -> NDArray[np.bool_]:
    """Which of ``values`` are NaN or infinite."""
    if values.dtype.kind in "biu":
        return np.zeros(len(values), np.bool_)
    return ~np.isfinite(_readable(values))


def count_newly_not_finite(
    after: Array, stored_after: Stored | None, before: Array, stored_before: Stored | None
) -> int:
    """How many numbers of ``after`` are NaN or infinite, at places where ``before`` is finite. If the two cannot be
    compared, all that are NaN or infinite count."""
    a, b = numbers(after, stored_after), numbers(before, stored_before)
    if a is None or stored_after is None:
        return 0
    if b is None or stored_before is None or stored_after.shape != stored_before.shape or b.dtype.kind in "biu":
        return count_not_finite(a)
    a = _in_order_of(stored_before, a, stored_after)
    return sum(
        int(
            np.count_nonzero(~np.isfinite(_readable(a[at : at + _PIECE])) & np.isfinite(_readable(b[at : at + _PIECE])))
        )
        for at in range(0, len(a), _PIECE)
    )


def _in_order_of(other: Stored, values: Numbers, what: Stored) -> Numbers:
    """``values`` in the order of the bytes of an ``other`` array of the same shape."""
    if what.fortran == other.fortran:
        return values
    shaped = values.reshape(what.shape, order="F" if what.fortran else "C")
    return shaped.ravel(order="F" if other.fortran else "C")


def change(after: Array, stored_after: Stored | None, before: Array, stored_before: Stored | None) -> float | None:
    """The squared L2 norm of the difference of two arrays of one shape; None if it cannot be computed."""
    a, b = numbers(after, stored_after), numbers(before, stored_before)
    if a is None or b is None or stored_after is None or stored_before is None:
        return None
    if stored_after.shape != stored_before.shape:
        return None
    a = _in_order_of(stored_before, a, stored_after)
    wide = np.complex128 if "c" in (a.dtype.kind, b.dtype.kind) else np.float64
    total = 0.0
    with np.errstate(all="ignore"):  # a difference that is no number is larger than any bound
        for at in range(0, len(a), _PIECE):
            apart = np.subtract(_readable(a[at : at + _PIECE]).astype(wide), _readable(b[at : at + _PIECE]))
            total += float(np.vdot(apart, apart).real)
    return total


@dataclass(frozen=True, slots=True)
class Unit:
    """The unit in the last place of a type of floating-point numbers."""

    at_one: float
    """Between 1 and the next number; twice the largest relative error of a rounding."""
    smallest: float
    """The smallest number that it has. Near zero all are this far apart."""

    def at(self, magnitudes: NDArray[np.float64]) -> NDArray[np.float64]:
        """At each of these magnitudes."""
        _, exponents = np.frexp(magnitudes)
        units: NDArray[np.float64] = np.maximum(np.ldexp(self.at_one, exponents - 1), self.smallest)
        return units


DOUBLE: Final = Unit(2.0**-52, 2.0**-1074)
_OF_BFLOAT16: Final = Unit(2.0**-7, 2.0**-133)


def unit_of(array: Array, what: Stored | None) -> Unit | None:
    """The unit of the numbers of ``array``; None if they are no floating-point numbers."""
    if what is None:
        return None
    if _is_bfloat16(array, what):
        return _OF_BFLOAT16
    if what.dtype.kind not in "fc":
        return None
    about = np.finfo(what.dtype)
    return Unit(float(about.eps), float(about.smallest_subnormal))


def pieces(first: Numbers, second: Numbers) -> Iterator[tuple[NDArray[Any], NDArray[Any], slice]]:
    """The numbers of two arrays of one length, side by side, a piece at a time, as doubles; and where each is."""
    wide = np.complex128 if "c" in (first.dtype.kind, second.dtype.kind) else np.float64
    for start in range(0, len(first), _PIECE):
        at = slice(start, start + _PIECE)
        yield _readable(first[at]).astype(wide), _readable(second[at]).astype(wide), at


def _readable(piece: Numbers) -> Numbers:
    """``piece``; bfloat16 becomes float32, of which it is the upper half."""
    if piece.dtype != _BFLOAT16:
        return piece
    return (piece["bfloat16"].astype(np.uint32) << 16).view(np.float32)

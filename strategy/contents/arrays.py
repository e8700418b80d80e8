"""Flower arrays whose bytes are read when they are needed, and not kept by the first who needs their numbers.

A strategy goes through the replies' arrays once, and adds each to a sum. If each array kept its bytes, a server's
memory would grow with the number of clients, although nobody reads them again.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any, Protocol

from flwr.app import Array, ArrayRecord
from numpy.typing import NDArray


class ArrayBytes(Protocol):
    """Where the bytes of an array are. Safe to use from several threads."""

    @property
    def size(self) -> int:
        """How many they are."""

    @property
    def lasts(self) -> bool:
        """Whether they may be read again and again, because that takes neither a hash nor a key."""

    def load(self) -> bytes:
        """All of them."""

    def begin(self) -> bytes:
        """The first of them."""

    def pieces(self) -> Iterator[bytes]:
        """All of them, a chunk at a time."""

    def mapped(self) -> memoryview | None:
        """All of them in a mapping that is the caller's own, also to write to; None if there is none."""


class LazyArray(Array):
    """An `Array` that reads its ``data`` at the first use, and is a plain `Array` from then on.

    It compares, hashes, prints, copies and pickles like the plain one, and takes other ``data``, because each of these
    makes it a plain one.
    `numpy` alone leaves it as it is: it reads the bytes into the numbers that it returns, or maps them. If its source
    does not last, that holds for the first call. Whoever asks a second time may ask often, so that makes it a plain one
    too, and no array is read from its blocks more than twice.
    """

    def __init__(
        self,
        dtype: str,
        shape: tuple[int, ...],
        stype: str,
        source: ArrayBytes,
        numbers: Callable[[Array], NDArray[Any] | None],
    ) -> None:
        """``numbers`` makes an array of numpy's of this one; None if Flower itself has to."""
        # not Array.__init__, which wants the bytes
        self.__dict__.update(dtype=dtype, shape=shape, stype=stype, _source=source, _numbers=numbers)

    @property
    def source(self) -> ArrayBytes:
        """Where its bytes are."""
        found: ArrayBytes = self.__dict__["_source"]
        return found

    @source.setter
    def source(self, source: ArrayBytes) -> None:
        self.__dict__["_source"] = source

    def numpy(self) -> NDArray[Any]:
        """As `Array.numpy`. The first time, the bytes are not kept; if they are in a file, they never are."""
        attributes = self.__dict__
        source = attributes.get("_source")
        lasts = source is not None and source.lasts
        numbers = attributes.get("_numbers") if lasts else attributes.pop("_numbers", None)
        found = None if numbers is None or "data" in attributes else numbers(self)
        return Array.numpy(self._plain()) if found is None else found

    def __getattr__(self, name: str) -> Any:  # the signature that the protocol has
        if name != "data":
            raise AttributeError(name)
        return self._plain().data

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "data":  # the app gives it other bytes: whoever sends or reads it next has to find those
            self.__dict__["data"] = value
            self._plain()
        Array.__setattr__(self, name, value)  # super() would not do: it may be a plain one by now

    def __eq__(self, other: object) -> bool:
        return self._plain() == other

    def __repr__(self) -> str:
        return repr(self._plain())

    def __reduce_ex__(self, protocol: Any) -> Any:  # the signature that the protocol has
        return self._plain().__reduce_ex__(protocol)

    __hash__ = None  # type: ignore[assignment]  # as Array

    def _plain(self) -> Array:
        attributes = self.__dict__
        source = attributes.get("_source")
        if source is not None:  # otherwise another thread has just done it
            if "data" not in attributes:
                attributes["data"] = source.load()
            self.__class__ = Array  # type: ignore[assignment]  # the same layout, and nothing left to do lazily
            for name in ("_source", "_numbers"):
                attributes.pop(name, None)
        return self


def is_plain(array: Array) -> bool:
    """Whether it is one of Flower's own, with its bytes in memory."""
    return type(array) is Array


def become_lazy(array: Array, source: ArrayBytes, numbers: Callable[[Array], NDArray[Any] | None]) -> None:
    """Have a plain array read its bytes from a ``source``, which lasts. They are no longer kept here."""
    lazy = LazyArray(array.dtype, array.shape, array.stype, source, numbers)
    array.__class__ = LazyArray  # what has its bytes reads them, also in another thread
    array.__dict__ = lazy.__dict__


def as_it_is(arrays: ArrayRecord) -> ArrayRecord:
    """The same arrays, whatever is done later to the record or to one of them. Their bytes are shared."""
    record = ArrayRecord()  # which would read all bytes of a dict that it was given
    for name, array in arrays.items():
        record[name] = _twin(array)
    return record


def _twin(array: Array) -> Array:
    source, numbers = _source_of(array), array.__dict__.get("_numbers")
    if source is None or numbers is None or not source.lasts:
        return copy.copy(array)
    return LazyArray(array.dtype, array.shape, array.stype, source, numbers)


def beginning(array: Array) -> bytes:
    """The first bytes of an array, a chunk or all. A lazy array reads no more than that, and stays lazy."""
    source = _source_of(array)
    return array.data if source is None else source.begin()


def pieces_of(array: Array) -> Iterator[bytes]:
    """All bytes of an array, a chunk at a time. A lazy array stays lazy: none of them is kept."""
    source = _source_of(array)
    return iter((array.data,)) if source is None else source.pieces()


def size_of(array: Array) -> int:
    """How many bytes an array has, or is going to have."""
    source = _source_of(array)
    return len(array.data) if source is None else source.size


def mapped(array: Array) -> memoryview | None:
    """All bytes of an array that are in a file, in a mapping that is the caller's own; None if they are in none."""
    source = _source_of(array)
    return None if source is None else source.mapped()


def whole(array: Array) -> bytes | memoryview:
    """All bytes of an array, to be read. If they are in a file, they stay there; otherwise the array keeps them."""
    source = _source_of(array)
    if source is None or not source.lasts:
        return array.data
    found = source.mapped()
    return source.load() if found is None else found


def _source_of(array: Array) -> ArrayBytes | None:
    return array.__dict__.get("_source")

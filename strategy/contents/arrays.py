"""Flower arrays whose bytes are read when they are needed, and not kept by the first who needs their numbers.

A strategy goes through the replies' arrays once, and adds each to a sum. If each array kept its bytes, a server's
memory would grow with the number of clients, although nobody reads them again.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any

from flwr.app import Array, ArrayRecord
from numpy.typing import NDArray


class LazyArray(Array):
    """An `Array` that reads its ``data`` at the first use, and is a plain `Array` from then on.

    It compares, hashes, prints, copies and pickles like the plain one, because each of these makes it a plain one. The
    first call of `numpy` alone leaves it as it is: it reads the bytes into the numbers that it returns. Whoever asks a
    second time may ask often, so that makes it a plain one too, and no array is read more than twice.
    """

    def __init__(
        self,
        dtype: str,
        shape: tuple[int, ...],
        stype: str,
        size: int,
        load: Callable[[], bytes],
        begin: Callable[[], bytes],
        stream: Callable[[], Iterator[bytes]],
        numbers: Callable[[Array], NDArray[Any] | None],
    ) -> None:
        """``load`` reads all ``size`` bytes, ``begin`` the first of them, ``stream`` all of them one after another.
        ``numbers`` makes an array of numpy's of these; None if Flower itself has to."""
        # not Array.__init__, which wants the bytes
        given = {"_size": size, "_load": load, "_begin": begin, "_stream": stream, "_numbers": numbers}
        self.__dict__.update(dtype=dtype, shape=shape, stype=stype, **given)

    def numpy(self) -> NDArray[Any]:
        """As `Array.numpy`. The first time, the bytes are not kept."""
        numbers = self.__dict__.pop("_numbers", None)
        found = None if numbers is None or "data" in self.__dict__ else numbers(self)
        return self._plain().numpy() if found is None else found

    def __getattr__(self, name: str) -> Any:  # the signature that the protocol has
        if name != "data":
            raise AttributeError(name)
        return self._plain().data

    def __eq__(self, other: object) -> bool:
        return self._plain() == other

    def __repr__(self) -> str:
        return repr(self._plain())

    def __reduce_ex__(self, protocol: Any) -> Any:  # the signature that the protocol has
        return self._plain().__reduce_ex__(protocol)

    __hash__ = None  # type: ignore[assignment]  # as Array

    def _plain(self) -> Array:
        attributes = self.__dict__
        load = attributes.get("_load")
        if load is not None:  # otherwise another thread has just done it
            if "data" not in attributes:
                attributes["data"] = load()
            self.__class__ = Array  # type: ignore[assignment]  # the same layout, and nothing left to do lazily
            for name in ("_load", "_begin", "_stream", "_numbers", "_size"):
                attributes.pop(name, None)
        return self


def as_it_is(arrays: ArrayRecord) -> ArrayRecord:
    """The same arrays, whatever is done later to the record or to one of them. Their bytes are shared."""
    return ArrayRecord({name: copy.copy(array) for name, array in arrays.items()})


def beginning(array: Array) -> bytes:
    """The first bytes of an array, a chunk or all. A lazy array reads no more than that, and stays lazy."""
    begin = array.__dict__.get("_begin")
    return array.data if begin is None else begin()


def pieces_of(array: Array) -> Iterator[bytes]:
    """All bytes of an array, a chunk at a time. A lazy array stays lazy: none of them is kept."""
    stream = array.__dict__.get("_stream")
    return iter((array.data,)) if stream is None else stream()


def size_of(array: Array) -> int:
    """How many bytes an array has, or is going to have."""
    size = array.__dict__.get("_size")
    return len(array.data) if size is None else int(size)

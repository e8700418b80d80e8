"""Types as msgspec knows them, so that several threads may read bytes into them.

What msgspec has to know of the fields of a dataclass or a ``Struct``, it finds out when the type is first read, and
keeps it with the type. It does so before it is whole, for types that hold themselves (``DataclassInfo_Convert`` and
``StructInfo_Convert`` in msgspec's ``_core.c``). It looks annotations up in Python code meanwhile, and there another
thread may get its turn. If that one reads the same type, it follows a null pointer, and the process is gone.
"""

from __future__ import annotations

import threading
from typing import Final, TypeVar

import msgspec

K = TypeVar("K")

_described: Final[set[object]] = set()
"""The types that msgspec knows wholly, with all that they hold."""

_one_by_one: Final = threading.Lock()
"""Held while msgspec gets to know a type, because types have parts in common."""


def described(kind: K) -> K:
    """``kind``, a type or a union of types, which any thread may read bytes into from now on. Whatever of ours goes
    into msgspec as a type to read comes from here.

    Raises:
        NameError, TypeError: if it is no type that msgspec can read.
    """
    if kind not in _described:
        with _one_by_one:
            msgspec.msgpack.Decoder(kind)
            _described.add(kind)
    return kind

"""Files for arrays that were read once: of replies that a server examined, so that its memory does not grow with its
clients, of what its app has sent, and of the newest message that a client read.

Bytes are checked, and decrypted, as they are written. Whoever wants their numbers gets a private mapping
of the file: the kernel may drop its pages and read them again, and what an app writes into them is its own copy
(``MAP_PRIVATE`` of mmap(2)). A file has no name, and its space is free again with the last array and the last mapping.

A disk may keep what was in a file. So what came encrypted is *hidden* there, under a key that this process alone has,
and is read in place of being mapped.
"""

from __future__ import annotations

import mmap
import os
import resource
import shutil
import weakref
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryFile
from typing import Final

from flwr.app import Array

from crypto.symmetric import Hide, ScratchKey
from strategy.contents.arrays import ArrayBytes, LazyArray, become_lazy
from strategy.contents.npy import read_numbers

_ALIGNED: Final = 64
"""Where an array begins in a file. Numbers begin at a multiple of that within an array, as numpy writes it."""
_PIECE: Final = 1 << 20
"""Bytes that are read at once."""


class ArrayFile:
    """The large arrays of one content. One thread says which are written to it, any may read them."""

    def __init__(self, folder: Path, size: int, *, hidden: bool) -> None:
        """``size`` bytes on the disk of ``folder``, as `space_for` counts them. No file is made for none.

        Raises:
            OSError: if the disk has no room for them, or the file cannot be made.
        """
        self.size = size
        self.broken = False
        """Whether an array could not be written."""
        self._key = ScratchKey() if hidden else None
        self._end = 0
        self._newest: _Mapped | None = None
        self._descriptor = new_file(folder, size) if size else -1
        if size:
            weakref.finalize(self, os.close, self._descriptor)

    def move(self, array: Array) -> Array | None:
        """Write the bytes of an array here, from where it is read from then on. Returns what to look at now: that
        array, or, if it is hidden here or has no more than a piece, a plain one with its bytes, which are in memory at
        this moment. Returns None if it could not be written: all else stays as it is. An array that is in memory is
        left there.

        Raises what reading the array raises.
        """
        if not isinstance(array, LazyArray):
            return array
        source, start = array.source, self._reserved(array.source.size)
        seen: Array = array
        if self._key is None and source.size > _PIECE:
            for _ in self.copied(source, start):
                if self.broken:
                    return None
        else:  # hidden, or so small that to map it takes longer than to look at it
            data = source.load()
            try:
                self._put(data, start)
            except OSError:
                self.broken = True
                return None
            seen = Array(array.dtype, array.shape, array.stype, data)
        array.source = _FiledBytes(self, start, source.size)
        return seen

    def take(self, array: Array) -> None:
        """Write the bytes of a plain array here, from where it is read from then on.

        Raises:
            OSError: if they cannot be written. The array stays as it is.
        """
        data = array.data
        start = self._reserved(len(data))
        self._put(data, start)
        become_lazy(array, _FiledBytes(self, start, len(data)), read_numbers)

    def written_as_it_is_read(self, source: ArrayBytes, done: Callable[[ArrayBytes], None]) -> ArrayBytes:
        """A ``source`` of the same bytes, which go here too. Once all have, ``done`` gets the source of them here."""
        return _CopiedBytes(self, self._reserved(source.size), source, done)

    def copied(self, source: ArrayBytes, start: int) -> Iterator[bytes]:
        """The bytes of a ``source``, each piece after it was written from ``start`` on, unless the file is broken."""
        at = start
        hidden = self._hiding(start)
        for piece in source.pieces():
            if not self.broken:
                try:
                    at += self._write(hidden(piece), at)
                except OSError:
                    self.broken = True
            yield piece

    def _reserved(self, size: int) -> int:
        start = self._end
        self._end += aligned(size)
        return start

    def read(self, start: int, size: int) -> bytes:
        """The first bytes of the array that was written from ``start`` on.

        Raises:
            OSError: if the disk fails.
        """
        found = BytesIO(bytes(size))  # its value is that very object, not a copy
        with found.getbuffer() as view:
            shown = self._showing(start)
            for at in range(0, size, _PIECE):
                self._fill(view[at : at + _PIECE], start + at, shown)
        return found.getvalue()

    def pieces(self, start: int, size: int) -> Iterator[bytes]:
        """As `read`, piece by piece."""
        shown = self._showing(start)
        for at in range(0, size, _PIECE):
            found = BytesIO(bytes(min(_PIECE, size - at)))
            with found.getbuffer() as view:
                self._fill(view, start + at, shown)
            yield found.getvalue()

    def _fill(self, into: memoryview, at: int, shown: Hide | None) -> None:
        left = into
        while left:
            done = os.preadv(self._descriptor, [left], at)
            if not done:
                raise OSError(f"{len(left)} bytes of arrays that were read are gone from their file")
            left, at = left[done:], at + done
        if shown is not None:
            shown(into, into)

    def mapped(self, start: int, size: int) -> memoryview | None:
        """Bytes of the file that only who asks may write to. None if they are hidden, or the
        kernel allows no further mapping.

        One mapping of the file serves each array once, because each takes a descriptor. It ends with its last view.
        """
        if self._key is not None:
            return None
        newest, mine = self._newest, object()
        mapping = None if newest is None else newest.mapping()
        # setdefault is atomic: of two threads that ask for one array, one gets another mapping
        if newest is None or mapping is None or newest.given.setdefault(start, mine) is not mine:
            try:
                mapping = mmap.mmap(self._descriptor, self.size, access=mmap.ACCESS_COPY)
            except (OSError, ValueError):  # too many, or more than this process may have
                return None
            self._newest = _Mapped(weakref.ref(mapping), {start: mine})
        return memoryview(mapping)[start : start + size]

    def _put(self, data: bytes, start: int) -> None:
        hidden, view = self._hiding(start), memoryview(data)
        for at in range(0, len(view), _PIECE):
            self._write(hidden(view[at : at + _PIECE]), start + at)

    def _showing(self, start: int) -> Hide | None:
        """What turns the pieces that were written from ``start`` on into what they were; None if it is nothing."""
        return None if self._key is None else self._key.stream(start)

    def _hiding(self, start: int) -> Callable[[bytes | memoryview], bytes | memoryview]:
        """What is written of each piece in turn from ``start`` on. It is good until the next one."""
        if self._key is None:
            return lambda piece: piece
        hide, room = self._key.stream(start), memoryview(b"")

        def hidden(piece: bytes | memoryview) -> memoryview:
            nonlocal room
            if len(room) < len(piece):
                room = memoryview(bytearray(len(piece)))
            return room[: hide(piece, room)]

        return hidden

    def _write(self, piece: bytes | memoryview, at: int) -> int:
        left = memoryview(piece)
        while left:
            done = os.pwrite(self._descriptor, left, at)
            left, at = left[done:], at + done
        return len(piece)


@dataclass(frozen=True, slots=True)
class _Mapped:
    mapping: weakref.ref[mmap.mmap]
    given: dict[int, object] = field(default_factory=dict)
    """The starts of the arrays of which there may be views."""


@dataclass(frozen=True, slots=True)
class _FiledBytes:
    """The bytes of an array in a file."""

    file: ArrayFile
    start: int
    size: int

    @property
    def lasts(self) -> bool:
        return True

    def load(self) -> bytes:
        return self.file.read(self.start, self.size)

    def begin(self) -> bytes:
        return self.file.read(self.start, min(self.size, _PIECE))

    def pieces(self) -> Iterator[bytes]:
        return self.file.pieces(self.start, self.size)

    def mapped(self) -> memoryview | None:
        return self.file.mapped(self.start, self.size)


@dataclass(frozen=True, slots=True)
class _CopiedBytes:
    """The bytes of an array that are written to a file as they are read."""

    file: ArrayFile
    start: int
    source: ArrayBytes
    done: Callable[[ArrayBytes], None]

    @property
    def size(self) -> int:
        return self.source.size

    @property
    def lasts(self) -> bool:
        return False

    def load(self) -> bytes:
        return _joined(self.pieces())

    def begin(self) -> bytes:
        return self.source.begin()

    def pieces(self) -> Iterator[bytes]:
        yield from self.file.copied(self.source, self.start)
        if not self.file.broken:
            self.done(_FiledBytes(self.file, self.start, self.size))

    def mapped(self) -> memoryview | None:
        return None


def space_for(arrays: Iterable[Array]) -> int:
    """Bytes that those of the ``arrays`` take in a file that are read later."""
    return sum(aligned(array.source.size) for array in arrays if isinstance(array, LazyArray))


def bytes_in_memory(arrays: Iterable[Array]) -> int:
    """Bytes of the others."""
    return sum(len(array.data) for array in arrays if not isinstance(array, LazyArray))


def room_for_files(folder: Path, taken: int, share: int = 2) -> int:
    """Bytes that one more file may have, while others have ``taken`` bytes: all together have a ``share``, by default
    half, of what would be free on that disk without them, and of what this process may write to files (``RLIMIT_FSIZE``
    of getrlimit(2)). The rest is for the app and its peer."""
    while not folder.exists():
        folder = folder.parent
    most = shutil.disk_usage(folder).free + taken
    may_write, _ = resource.getrlimit(resource.RLIMIT_FSIZE)
    return (most if may_write == resource.RLIM_INFINITY else min(most, may_write)) // share - taken


def new_file(folder: Path, size: int) -> int:
    """The descriptor of a new file without a name."""
    folder.mkdir(parents=True, exist_ok=True)
    with TemporaryFile(dir=folder, buffering=0) as file:
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(file.fileno(), 0, size)  # so that no write finds the disk full
        else:  # macOS
            os.truncate(file.fileno(), size)
        return os.dup(file.fileno())


def _joined(pieces: Iterable[bytes]) -> bytes:
    joined = BytesIO()  # as in `protocol.blocks.content.read_chunks`
    for piece in pieces:
        joined.write(piece)
    return joined.getvalue()


def aligned(size: int) -> int:
    """The space that an array of so many bytes takes in a file."""
    return -(-size // _ALIGNED) * _ALIGNED

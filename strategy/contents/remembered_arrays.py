"""The arrays of the newest message that a client read: what it evaluated in one round it mostly trains on in the next.

The two messages are other contents, but their arrays are in the same chunks. So these are checked, and decrypted, once.
"""

from __future__ import annotations

from collections import Counter
from functools import partial
from pathlib import Path
from typing import Final

from flwr.app import RecordDict

from protocol.blocks.cid import CID
from protocol.blocks.content import ContentKey
from strategy.contents.array_files import ArrayFile, room_for_files, space_for
from strategy.contents.arrays import ArrayBytes, LazyArray
from strategy.contents.codec import ChunkedBytes

_PATIENCE: Final = 3
"""After how many messages of a type that were remembered for nothing no more of them are."""

_Chunks = tuple[ContentKey | None, tuple[CID, ...]]
_Arrays = list[tuple[_Chunks, LazyArray]]


class RememberedArrays:
    """Large arrays of one message, in a file, as far as the app has read them. Another message that has few of them
    replaces it. For one thread, but the arrays themselves may be read by any.

    Whether messages of a type are remembered is learnt: not if the next ones have mostly had other arrays.
    """

    def __init__(self, folder: Path) -> None:
        """``folder`` is on the disk for the file, which has no name in it."""
        self._folder = folder
        self._read: dict[_Chunks, ArrayBytes] = {}
        self._type: str | None = None
        """Of the message that is remembered."""
        self._worth: Counter[str] = Counter()
        """How many messages of each type were remembered for something, less those that were not."""

    def look_up(self, records: RecordDict, key: ContentKey | None, type: str) -> None:
        """Have the arrays of a message of this ``type`` read from here, or remember them as the app reads them.
        ``key`` is what it is encrypted with."""
        arrays = _chunked(records, key)
        if not arrays:
            return
        known = [(chunks, array) for chunks, array in arrays if chunks in self._read]
        serves = 2 * _space_for(known) >= _space_for(arrays)
        if self._type is not None:
            self._worth[self._type] += 1 if serves else -1
        if serves:
            for chunks, array in known:
                array.source = self._read[chunks]
        else:
            self._begin(arrays, type, hidden=key is not None)

    def _begin(self, arrays: _Arrays, type: str, *, hidden: bool) -> None:
        self._read, self._type = {}, None
        size = _space_for(arrays)
        if self._worth[type] <= -_PATIENCE:
            return
        try:
            if size > room_for_files(self._folder, taken=0):
                return
            file = ArrayFile(self._folder, size, hidden=hidden)
        except OSError:  # then each message is read from its blocks
            return
        self._type = type
        for chunks, array in arrays:
            array.source = file.written_as_it_is_read(array.source, partial(self._read.__setitem__, chunks))


def _chunked(records: RecordDict, key: ContentKey | None) -> _Arrays:
    """The large arrays, each with its chunks."""
    return [
        ((key, array.source.chunks), array)
        for record in records.array_records.values()
        for array in record.values()
        if isinstance(array, LazyArray) and isinstance(array.source, ChunkedBytes)
    ]


def _space_for(arrays: _Arrays) -> int:
    return space_for(array for _, array in arrays)

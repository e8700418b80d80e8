"""A Flower `RecordDict` as content blocks, and back, exactly.

The body of the content (see `protocol.blocks.content`) is the dag-cbor list ``[FORMAT, shared, records]``. Records, and
the entries in a record, are lists in the order that the app sees, because dag-cbor would sort the keys of a map:

    record   [name, "array" | "metric" | "config", entries]
    entry    [key, dtype, shape, stype, data]  of an array record;  [key, value]  of the others

``data`` is the bytes themselves, or their number; then the bytes are in the next chunks that the content links, all
full except the last. Up to ``ALWAYS_INLINE`` bytes stand in the body. Arrays of up to ``SMALL_SIZE`` share one chunk,
the first after the body's, as long as ``SHARED_ROOM`` has room for them: then ``data`` is the list of their number
alone, and ``shared`` is the number of all of them. If they have no more than ``FEW_BYTES`` together, they stand in the
body, too, and ``shared`` is 0. So a model of many small arrays is two blocks, and not one for each: each block is a
file to be synced. And whoever has the model has one small block to fetch of the next message with it, which has other
settings. Names, keys and values are written as `strategy.contents.metric_values` says.

Formats 1 and 2 are ``[format, records]``. They are read, and not written. Format 1 had chunks for all arrays over
``ALWAYS_INLINE``; in format 2 the small ones stood in the body.

The number of entries and the length of names are bounded, whoever writes them, because showing and checking a content
takes time in proportion to them.

Under a `ContentKey` all of it is encrypted, and the same records have the same CID under the same key.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Container, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import islice
from typing import Final, Protocol, TypeVar

from flwr.app import Array, ArrayRecord, ConfigRecord, MetricRecord, RecordDict

from crypto.symmetric import OVERHEAD, Seal
from protocol.blocks.cid import (
    CHUNK_SIZE,
    CID,
    Block,
    BlockSource,
    MalformedBlock,
    MissingBlock,
    decode_cbor,
    encode_cbor,
    raw_cid,
)
from protocol.blocks.content import (
    ContentError,
    ContentForm,
    ContentKey,
    Opened,
    chunk_bytes,
    open_content,
    read_chunks,
    write_manifest,
)
from strategy.contents.arrays import LazyArray, whole
from strategy.contents.metric_values import decode_scalar, decode_value, encode_scalar, encode_value
from strategy.contents.npy import read_numbers
from strategy.contents.side_by_side import side_by_side

FORMAT: Final = 3
ALWAYS_INLINE: Final = 4096
"""Arrays of up to this many bytes stand in the body."""
SMALL_SIZE: Final = 64 << 10
"""Larger arrays have chunks of their own."""
SHARED_ROOM: Final = CHUNK_SIZE - OVERHEAD
"""Bytes of the chunk that small arrays over `ALWAYS_INLINE` share, the first ones that fit: as many as one chunk holds,
encrypted or not. They are in memory as long as the message is, unless they are put into a file."""
FEW_BYTES: Final = 48 << 10
"""So many bytes of small arrays stand in the body: the first block has room for them, and comes alone."""

_LARGEST_INLINE: Final = {1: ALWAYS_INLINE, 2: SMALL_SIZE, FORMAT: SMALL_SIZE}
"""Of each format that is read, the most bytes of an array in the body."""


class Kind(StrEnum):
    """The record types Flower has."""

    ARRAY = "array"
    METRIC = "metric"
    CONFIG = "config"


MAX_VALUES: Final = 16_384
"""Entries of all metric and config records of a content. A list counts once, and may have any number of items."""
MAX_ARRAYS: Final = 262_144
"""Arrays of a content: several times as many as the largest models have."""
MAX_RECORDS: Final = 16_384
MAX_NAME: Final = 1_024
"""Characters of the name of a record, an entry, a dtype or an stype."""
MAX_DIMENSIONS: Final = 256
"""Dimensions of an array. numpy and torch have 64 at most."""

_WORTH_A_THREAD: Final = 64 << 10
"""Bytes. A smaller chunk is hashed before another thread has started."""

Values = TypeVar("Values", MetricRecord, ConfigRecord)


@dataclass(frozen=True, slots=True)
class Limits:
    """What one content may take, in bytes. Checked against what it declares, before any of it is allocated."""

    body: int = 64 << 20
    """Names, metrics, configs and small arrays."""
    arrays: int = 8 << 30
    """All larger arrays together."""


DEFAULT_LIMITS: Final = Limits()


class ContentStore(Protocol):
    """The part of an engine that the app process needs."""

    def put_content(self, root: CID, blocks: Iterable[Block]) -> None:
        """As `peer.engine.interface.Engine.put_content`."""

    def open(self, root: CID) -> BlockSource:
        """A source of the blocks of the content ``root``, good as long as the process lives."""


@dataclass(frozen=True, slots=True)
class Piece:
    """What a chunk holds: a view of an array's own bytes. The chunk is made of it when it is stored."""

    cid: CID
    data: memoryview = field(repr=False)
    seal: Seal | None = field(repr=False)


@dataclass(frozen=True, slots=True)
class Encoded:
    """A content ready to be stored."""

    root: CID
    manifest: Sequence[Block]
    pieces: Sequence[Piece]
    """Of its arrays."""
    form: ContentForm

    def blocks(self, *, without: Container[CID] = frozenset()) -> Iterable[Block]:
        """Its blocks, the manifest block first, each once, except those in ``without``. They may be gone through again,
        as a store does that its engine leaves in the middle; no more than one is made at a time.

        Raises:
            crypto.errors.ChangedPlaintext: if an array's bytes have changed since, and they are encrypted.
        """
        return _Blocks(self, without)

    @property
    def root_block(self) -> Block:
        """The block that it is named by."""
        return next(block for block in self.manifest if block.cid == self.root)

    @property
    def is_one_block(self) -> bool:
        """Whether there is no other."""
        return len(self.manifest) == 1 and not self.pieces

    def cids(self) -> Iterator[CID]:
        """The CIDs of its blocks, some more than once."""
        yield from (block.cid for block in self.manifest)
        yield from (piece.cid for piece in self.pieces)


@dataclass(frozen=True, slots=True)
class _Blocks:
    encoded: Encoded
    without: Container[CID]

    def __iter__(self) -> Iterator[Block]:
        seen: set[CID] = set()
        for block in self.encoded.manifest:
            if block.cid not in self.without and block.cid not in seen:
                seen.add(block.cid)
                yield block
        for piece in self.encoded.pieces:
            if piece.cid not in self.without and piece.cid not in seen:
                seen.add(piece.cid)
                # nobody writes to what the view is of, so the hash still holds
                yield Block(piece.cid, self.encoded.form.close_chunk_again(piece.data, piece.seal))


def encode(records: RecordDict, key: ContentKey | None) -> Encoded:
    """The content of ``records`` under ``key``; plain if that is None. Large arrays are not copied yet.

    Raises:
        TypeError: if the records hold what Flower does not take. (Flower does not see changes to a list in them.)
        ValueError: if there are more entries, or longer names or integers, than a content may have.
    """
    _check_counts([(_kind(name, record), len(record)) for name, record in records.items()])
    form = ContentForm(key)
    arrays = _ArrayWriter(form)
    written = [_encode_record(name, record, arrays) for name, record in records.items()]
    shared = arrays.finish()
    pieces = _closed(arrays.parts, form)
    chunks = [piece.cid for piece in pieces]
    root, manifest = write_manifest(encode_cbor([FORMAT, shared, written]), chunks, form, records=True)
    return Encoded(root, manifest, pieces, form)


def decode(root: CID, source: BlockSource, key: ContentKey | None, limits: Limits = DEFAULT_LIMITS) -> RecordDict:
    """The records of the content ``root``. Large arrays are read from ``source`` when the app reads them.

    Raises:
        ContentError: if it is malformed, over a limit of this module or of ``limits``, or not encrypted with ``key``
            (not plain, if ``key`` is None).
        MissingBlock: if ``source`` lacks a block.

    An array may raise both later, if its chunks are missing, do not have the declared size, or do not open.
    """
    opened = open_content(root, source, key, body_limit=limits.body)
    try:
        value = decode_cbor(opened.body, limit=limits.body)
    except MalformedBlock as error:
        raise ContentError(f"the body of content {root}: {error}") from error
    format, shared, listed = _parts_of(value, root)
    try:
        _check_counts([_counted(entry) for entry in listed])
    except ValueError as error:
        raise ContentError(f"content {root}: {error}") from error
    reader = _ArrayReader(opened, source, limits.arrays, _LARGEST_INLINE[format], shared)
    records = RecordDict()
    for entry in listed:
        name, record = _decode_record(entry, reader)
        _check_new(name, records)
        records[name] = record
    reader.finish()
    return records


class ContentWriter:
    """Stores contents, and gives the store only blocks that it has not given before, unless these were dropped."""

    def __init__(self, store: ContentStore) -> None:
        self._store = store
        self._stored: set[CID] = set()  # under another key a chunk has another CID

    def write(self, records: RecordDict, key: ContentKey | None) -> CID:
        """As `store`. Returns the content's name."""
        return self.store(records, key).root

    def store(self, records: RecordDict, key: ContentKey | None) -> Encoded:
        """Store the content of ``records``. It is durable at return. Raises what `encode` and the store raise."""
        encoded = encode(records, key)
        try:
            self._store.put_content(encoded.root, encoded.blocks(without=self._stored))
        except MissingBlock:  # the home keeps only what its plan says
            self._store.put_content(encoded.root, encoded.blocks())
        self._stored.update(encoded.cids())
        return encoded

    def write_whole(self, records: RecordDict, key: ContentKey | None, *, held: CID | None) -> CID:
        """As `write`, but with all blocks, because earlier ones may have been unpinned and collected since.

        ``held`` is a content that is known to be stored still. If it is the same, nothing is written.
        """
        encoded = encode(records, key)
        if encoded.root != held:
            self._store.put_content(encoded.root, encoded.blocks())
        return encoded.root


# -- limits --------------------------------------------------------------------------------------------------------


def _check_counts(records: Sequence[tuple[Kind, int]]) -> None:
    """Raises:
    ValueError: if there are more records, or entries in them, than a content may have.
    """
    values = sum(count for kind, count in records if kind is not Kind.ARRAY)
    arrays = sum(count for kind, count in records if kind is Kind.ARRAY)
    for what, count, most in (
        ("records", len(records), MAX_RECORDS),
        ("metrics and settings", values, MAX_VALUES),
        ("arrays", arrays, MAX_ARRAYS),
    ):
        if count > most:
            raise ValueError(f"{count} {what}, more than the {most} that a content may have")


def _check_length(name: str) -> None:
    """Raises:
    ValueError: if a name is longer than a content may have.
    """
    if len(name) > MAX_NAME:
        raise ValueError(f"the name {name[:60]!r}... has {len(name)} characters, more than {MAX_NAME}")


# -- encoding ------------------------------------------------------------------------------------------------------


def _kind(name: str, record: object) -> Kind:
    match record:
        case ArrayRecord():
            return Kind.ARRAY
        case MetricRecord():
            return Kind.METRIC
        case ConfigRecord():
            return Kind.CONFIG
    raise TypeError(f"record {name[:MAX_NAME]!r} is a {type(record).__name__}")


def _encode_record(name: str, record: ArrayRecord | MetricRecord | ConfigRecord, arrays: _ArrayWriter) -> list[object]:
    entries: list[object]
    if isinstance(record, ArrayRecord):
        entries = [arrays.entry(key, array) for key, array in record.items()]
    else:
        entries = _encode_values(name, record)
    return [_encode_name(name), _kind(name, record).value, entries]


def _encode_values(name: str, record: MetricRecord | ConfigRecord) -> list[object]:
    entries: list[object] = []
    for key, value in record.items():
        written = _encode_name(key)
        try:
            entries.append([written, encode_value(value)])
        except (TypeError, ValueError) as error:
            raise type(error)(f"record {name!r}, key {key!r}: {error}") from error
    return entries


class _ArrayWriter:
    """Deals out the bytes of arrays, in order, to the body and to chunks."""

    def __init__(self, form: ContentForm) -> None:
        self.parts: list[memoryview] = []
        """What each chunk holds."""
        self._form = form
        self._room = SHARED_ROOM
        self._small: list[tuple[list[object], bytes | memoryview]] = []
        """The entries of small arrays, each without its ``data`` so far, and their bytes."""

    def entry(self, key: str, array: Array) -> list[object]:
        if len(array.shape) > MAX_DIMENSIONS:
            raise ValueError(f"array {key!r} has {len(array.shape)} dimensions, more than {MAX_DIMENSIONS}")
        shape = [encode_scalar(int(length)) for length in array.shape]
        data = whole(array) if isinstance(array, LazyArray) else bytes(array.data)  # no copy if it is bytes already
        entry: list[object] = [_encode_name(key), _encode_name(array.dtype), shape, _encode_name(array.stype)]
        if len(data) <= ALWAYS_INLINE:
            entry.append(bytes(data))
        elif len(data) <= min(SMALL_SIZE, self._room):
            self._room -= len(data)
            self._small.append((entry, data))
        else:
            entry.append(len(data))
            self.parts.extend(self._form.split(data))
        return entry

    def finish(self) -> int:
        """Put the small arrays where they belong. Returns how many bytes of them share a chunk, which is the first."""
        size = SHARED_ROOM - self._room
        if size <= FEW_BYTES:
            for entry, data in self._small:
                entry.append(bytes(data))
            return 0
        for entry, data in self._small:
            entry.append([len(data)])
        self.parts.insert(0, memoryview(b"".join(data for _, data in self._small)))
        return size


def _encode_name(name: str) -> object:
    _check_length(name)
    return encode_scalar(name)


def _closed(parts: Sequence[memoryview], form: ContentForm) -> list[Piece]:
    """The chunk of each part is made to be hashed, and is not kept: to encrypt it again when it is stored takes less
    than memory for all."""
    rooms: deque[memoryview] = deque()  # one for each thread, because new memory costs more than AES

    def close(part: memoryview) -> Piece:
        try:
            room = rooms.pop()
        except IndexError:
            room = form.room()
        chunk, seal = form.close_chunk_in(room, part)
        piece = Piece(raw_cid(chunk), part, seal)
        rooms.append(room)
        return piece

    if len(parts) < 2 or sum(map(len, parts)) < len(parts) * _WORTH_A_THREAD:
        return list(map(close, parts))
    return list(side_by_side(close, parts))


# -- decoding ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ChunkedBytes:
    """The bytes of an array in chunks, each of which is checked, and opened, whenever it is read."""

    chunks: tuple[CID, ...]
    size: int
    blocks: BlockSource
    form: ContentForm

    @property
    def lasts(self) -> bool:
        return False

    def load(self) -> bytes:
        return read_chunks(self.chunks, self.size, self.blocks, self.form)

    def begin(self) -> bytes:
        return read_chunks(self.chunks[:1], min(self.size, self.form.chunk_size), self.blocks, self.form)

    def pieces(self) -> Iterator[bytes]:
        return chunk_bytes(self.chunks, self.size, self.blocks, self.form)

    def mapped(self) -> memoryview | None:
        return None


@dataclass(frozen=True, slots=True)
class ReadBytes:
    """The bytes of a small array, read with the body. Whoever puts them elsewhere frees their memory."""

    data: bytes = field(repr=False)

    @property
    def size(self) -> int:
        return len(self.data)

    @property
    def lasts(self) -> bool:
        return True

    def load(self) -> bytes:
        return self.data

    def begin(self) -> bytes:
        return self.data

    def pieces(self) -> Iterator[bytes]:
        yield self.data

    def mapped(self) -> memoryview | None:
        return None


class _ArrayReader:
    """Deals out the chunks of a content in order, to arrays that declare how many bytes they have."""

    def __init__(self, opened: Opened, source: BlockSource, limit: int, largest_inline: int, shared: int) -> None:
        """``largest_inline`` is how many bytes of an array may stand in the body, ``limit`` those of all others, and
        ``shared`` those of the arrays that share a chunk."""
        self._largest_inline = largest_inline
        self._chunks = opened.chunks
        self._form = opened.form
        self._source = source
        self._left = limit
        self._take(shared)
        self._shared = read_chunks(list(islice(self._chunks, min(shared, 1))), shared, source, opened.form)
        self._dealt = 0
        """How many bytes of the shared chunk have gone to arrays."""

    def array(self, dtype: str, shape: tuple[int, ...], stype: str, where: object) -> Array:
        match where:
            case bytes() if len(where) <= ALWAYS_INLINE:
                return Array(dtype=dtype, shape=shape, stype=stype, data=where)
            case bytes() if len(where) <= self._largest_inline:
                return LazyArray(dtype, shape, stype, ReadBytes(where), read_numbers)
            case [int(size)] if ALWAYS_INLINE < size <= SMALL_SIZE:
                return LazyArray(dtype, shape, stype, ReadBytes(self._of_shared(size)), read_numbers)
            case int(size) if size > ALWAYS_INLINE:
                return LazyArray(dtype, shape, stype, self._of_chunks(size), read_numbers)
        raise ContentError("an array has neither a few bytes nor the number of more")

    def _of_shared(self, size: int) -> bytes:
        start, self._dealt = self._dealt, self._dealt + size
        if self._dealt > len(self._shared):
            raise ContentError("arrays are larger than the chunk that they share")
        return self._shared[start : self._dealt]

    def _of_chunks(self, size: int) -> ChunkedBytes:
        self._take(size)
        count = self._form.chunk_count(size)
        chunks = tuple(islice(self._chunks, count))
        if len(chunks) < count:
            raise ContentError("an array is larger than the chunks that are linked")
        return ChunkedBytes(chunks, size, self._source, self._form)

    def _take(self, size: int) -> None:
        self._left -= size
        if self._left < 0:
            raise ContentError("the arrays of a content are larger than the limit")

    def finish(self) -> None:
        if next(self._chunks, None) is not None:
            raise ContentError("a content links chunks that no array has")
        if self._dealt < len(self._shared):
            raise ContentError("a chunk that arrays share has bytes that no array has")


def _parts_of(body: object, root: CID) -> tuple[int, int, list[object]]:
    """The format of a body, how many bytes of its arrays share a chunk, and its records."""
    match body:
        case [int(format), list(records)] if type(format) is int and format in _LARGEST_INLINE and format != FORMAT:
            return format, 0, records
        case [int(format), int(shared), list(records)] if type(format) is int and format == FORMAT:
            if type(shared) is int and 0 <= shared <= SHARED_ROOM:
                return format, shared, records
    raise ContentError(f"content {root} is not in a format of Flower records up to {FORMAT}")


def _counted(entry: object) -> tuple[Kind, int]:
    """The kind and the number of entries of a record that is not parsed yet."""
    match entry:
        case [_, str(kind), list(entries)] if kind in _KINDS:
            return Kind(kind), len(entries)
    raise ContentError("a record is not [name, kind, entries]")


_KINDS: Final = frozenset(kind.value for kind in Kind)


def _decode_record(entry: object, reader: _ArrayReader) -> tuple[str, ArrayRecord | MetricRecord | ConfigRecord]:
    match entry:
        case [name, Kind.ARRAY.value, list(entries)]:
            return _decode_text(name), _decode_arrays(entries, reader)
        case [name, Kind.METRIC.value, list(entries)]:
            return _decode_text(name), _decode_values(entries, MetricRecord())
        case [name, Kind.CONFIG.value, list(entries)]:
            return _decode_text(name), _decode_values(entries, ConfigRecord())
    raise ContentError("a record is not [name, kind, entries]")


def _decode_arrays(entries: list[object], reader: _ArrayReader) -> ArrayRecord:
    record = ArrayRecord()
    for entry in entries:
        match entry:
            case [key, dtype, list(shape), stype, where]:
                name = _decode_text(key)
                _check_new(name, record)
                record[name] = reader.array(_decode_text(dtype), _decode_shape(shape), _decode_text(stype), where)
            case _:
                raise ContentError("an array is not [key, dtype, shape, stype, data]")
    return record


def _decode_values(entries: list[object], record: Values) -> Values:
    for entry in entries:
        match entry:
            case [key, value]:
                name = _decode_text(key)
                _check_new(name, record)
                try:
                    record[name] = decode_value(value)  # type: ignore[assignment]  # Flower checks its type
                except TypeError as error:  # Flower's own check: a metric is a number
                    raise ContentError(f"key {name!r}: {error}") from error
            case _:
                raise ContentError("an entry is not [key, value]")
    return record


def _decode_text(value: object) -> str:
    text = decode_scalar(value)
    if not isinstance(text, str):
        raise ContentError(f"a name is a {type(text).__name__}, not text")
    try:
        _check_length(text)
    except ValueError as error:
        raise ContentError(str(error)) from error
    return text


def _decode_shape(shape: list[object]) -> tuple[int, ...]:
    if len(shape) > MAX_DIMENSIONS:
        raise ContentError(f"an array has {len(shape)} dimensions, more than {MAX_DIMENSIONS}")
    lengths = tuple(decode_scalar(length) for length in shape)
    if any(type(length) is not int for length in lengths):
        raise ContentError("a shape is not of integers")
    return lengths  # type: ignore[return-value]  # integers, as just checked


def _check_new(name: str, record: Container[str]) -> None:
    if name in record:
        raise ContentError(f"the name {name[:80]!r} stands twice")

"""The manifest block of a content: ``{"links": [...], "epoch": null | n, "private": bytes}``.

``links`` are raw chunks, a tree once there are many. The *body* says what the chunks mean. It is one dag-cbor value
that only its readers understand: records and tensors (`strategy.contents.codec`), or the paths of an app bundle
(`protocol.blocks.bundle`). ``private`` is the dag-cbor list ``[size of the body, head of the body]``. A body of more
than ``HEAD_SIZE`` bytes continues in the first linked chunks, so that a manifest block stays small whatever an app
sends. A body with records of more than ``WHOLE_BODY`` bytes stands there as a whole, and its head is empty. The chunks
of the tensors follow.

A content with an ``epoch`` is encrypted: ``private`` as a whole, and each chunk by itself, so that equal tensors have
equal CIDs under one key. The links stay visible: storing and fetching a content takes no key. Whoever reads a content
opens ``private`` first, which commits to the key. What chunks are encrypted with need not, and is faster for that.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from io import BytesIO
from itertools import islice
from typing import Annotated, Final

from msgspec import Meta

from crypto.errors import CannotDecrypt
from crypto.symmetric import OVERHEAD, ChunkNonce, DeterministicCipher, Seal, SymmetricKey
from protocol.blocks.cid import (
    CHUNK_SIZE,
    CID,
    Block,
    BlockError,
    BlockSource,
    MissingBlock,
    cbor_block,
    decode_cbor,
    encode_cbor,
    raw_block,
)
from protocol.blocks.listing import Listing, pack
from protocol.blocks.typed import ShapeError, from_plain, to_plain

HEAD_SIZE: Final = 256 << 10
"""The most bytes of a body that stand in the manifest block itself."""

WHOLE_BODY: Final = 60 << 10
"""The most bytes of a body with records that stand in the manifest block. A node sends a block that is not much larger
as soon as it is asked whether it has it, and several may: so what is larger is in chunks, for which one is asked."""

_PRIVATE: Final = b"content"
_CHUNK: Final = b"chunk"
"""What each ciphertext is bound to. It is the same for all chunks, so that equal chunks stay equal everywhere."""


class ContentError(BlockError):
    """Blocks that are not a content, or a content that is over a limit or that the key does not open."""


@dataclass(frozen=True, slots=True)
class ContentKey:
    """What a content is encrypted with. A content without a key is plain."""

    epoch: int
    """As the content's manifest block names it; 0 for what a client keeps for itself."""
    key: bytes = field(repr=False)
    """32 bytes, good for one place only (`protocol.records.contexts.content_key`)."""
    chunk_nonce: ChunkNonce
    """How the nonces of the chunks are made, as the keys of the epoch say."""


@dataclass(frozen=True, slots=True)
class KeyedContent:
    """A content, and what opens it."""

    content: CID
    key: ContentKey | None


@dataclass(frozen=True, slots=True)
class ContentManifest:
    """The manifest block, parsed. ``epoch`` is None if ``private`` and the chunks are plain."""

    links: Listing
    epoch: Annotated[int, Meta(ge=0, le=2**63 - 1)] | None
    private: bytes


class ContentForm:
    """How a content is written: plain, or encrypted under a key. Safe to use from several threads."""

    __slots__ = ("_chunks", "_key", "chunk_size", "epoch", "overhead")

    def __init__(self, key: ContentKey | None) -> None:
        """Raises:
        crypto.errors.BadKey: if the key has not 32 bytes.
        """
        self._key = None if key is None else SymmetricKey(key.key)
        self._chunks = None if self._key is None or key is None else self._key.of_chunks(key.chunk_nonce)
        self.epoch = None if key is None else key.epoch
        self.overhead = 0 if key is None else OVERHEAD
        """How many bytes encryption adds to a chunk."""
        self.chunk_size = CHUNK_SIZE - self.overhead
        """How many bytes a full chunk holds. The chunk itself has ``CHUNK_SIZE`` bytes, encrypted or not."""

    def chunk_count(self, size: int) -> int:
        """How many chunks hold ``size`` bytes; each but the last is full."""
        return -(-size // self.chunk_size)

    def split(self, data: bytes | memoryview, start: int = 0) -> Iterator[memoryview]:
        """What each chunk of ``data`` from ``start`` on holds, not copied."""
        view = memoryview(data)
        return (view[at : at + self.chunk_size] for at in range(start, len(data), self.chunk_size))

    def close_chunk(self, data: memoryview) -> bytes | memoryview:
        """The chunk that holds ``data``: ``data`` itself in the plain form."""
        return data if self._chunks is None else self._chunks.encrypt(data, _CHUNK)

    def room(self) -> memoryview:
        """Memory for `close_chunk_in`, which may be used again and again."""
        return memoryview(bytearray(0 if self._chunks is None else CHUNK_SIZE))

    def close_chunk_in(self, room: memoryview, data: memoryview) -> tuple[bytes | memoryview, Seal | None]:
        """The chunk that holds ``data``, and what `close_chunk_again` takes. An encrypted chunk is in ``room``."""
        if self._chunks is None:
            return data, None
        chunk = room[: len(data) + self.overhead]
        return chunk, self._chunks.encrypt_into(data, _CHUNK, chunk)

    def close_chunk_again(self, data: memoryview, seal: Seal | None) -> bytes:
        """A copy of the chunk that `close_chunk_in` made of the same ``data``.

        Raises:
            crypto.errors.ChangedPlaintext: if it is encrypted, and the data are others.
        """
        return bytes(data) if self._chunks is None or seal is None else self._chunks.encrypt_again(data, _CHUNK, seal)

    def open_chunk_in(self, room: memoryview, chunk: bytes) -> None:
        """Write what a chunk holds to ``room``, which is as long.

        Raises:
            ContentError: if the key does not open it.
        """
        if self._chunks is None:
            room[:] = chunk
            return
        try:
            self._chunks.decrypt_into(memoryview(chunk), _CHUNK, room)
        except CannotDecrypt as error:
            raise _does_not_open(_CHUNK, error) from error

    def open_chunk(self, chunk: bytes) -> bytes:
        """What a chunk holds.

        Raises:
            ContentError: if the key does not open it.
        """
        return _opened(self._chunks, chunk, _CHUNK)

    def close_private(self, private: bytes) -> bytes:
        """What stands in the manifest block as ``private``."""
        return private if self._key is None else self._key.encrypt(private, _PRIVATE)

    def open_private(self, private: bytes) -> bytes:
        """The private part of a manifest block, as plain dag-cbor.

        Raises:
            ContentError: if the key does not open it.
        """
        return _opened(self._key, private, _PRIVATE)


def _opened(key: SymmetricKey | DeterministicCipher | None, data: bytes, context: bytes) -> bytes:
    if key is None:
        return data
    try:
        return key.decrypt(memoryview(data), context)  # a view, because decrypt takes slices
    except CannotDecrypt as error:
        raise _does_not_open(context, error) from error


def _does_not_open(context: bytes, error: CannotDecrypt) -> ContentError:
    return ContentError(f"the {context.decode()} does not open with the key of its epoch: {error}")


PLAIN: Final = ContentForm(None)


@dataclass(frozen=True, slots=True)
class Opened:
    """A content's body, and the CIDs of the chunks that the body describes, in order.

    Iterating ``chunks`` may raise ContentError or MissingBlock. It reads the tree of links only as far as it is asked.
    """

    body: bytes
    chunks: Iterator[CID]
    form: ContentForm
    """How the chunks are written."""


def write_manifest(
    body: bytes, chunks: Sequence[CID], form: ContentForm = PLAIN, *, records: bool = False
) -> tuple[CID, list[Block]]:
    """The CID of the content of ``body`` and ``chunks``, and its blocks, the manifest block first.

    ``chunks`` were written in the same form; their blocks are not returned. ``records``: it is a body with records.
    """
    head = 0 if records and len(body) > WHOLE_BODY else HEAD_SIZE
    rest = [raw_block(bytes(form.close_chunk(part))) for part in form.split(body, head)]
    links, tree = pack([*(block.cid for block in rest), *chunks])
    private = form.close_private(encode_cbor([len(body), body[:head]]))
    root = cbor_block(to_plain(ContentManifest(links, form.epoch, private)))
    return root.cid, [root, *tree, *rest]


def parse_content_manifest(data: bytes) -> ContentManifest:
    """The manifest in the bytes of its block.

    Raises:
        ContentError: if they hold no manifest.
    """
    try:
        return from_plain(decode_cbor(data), ContentManifest)
    except (BlockError, ShapeError) as error:
        raise ContentError(f"not the manifest of a content: {error}") from error


def open_content(root: CID, source: BlockSource, key: ContentKey | None, *, body_limit: int) -> Opened:
    """Read the manifest block ``root`` and the body, but not the chunks.

    Args:
        root: The CID of the manifest block.
        source: Where the blocks are.
        key: What the content is encrypted with; None if it has to be plain.
        body_limit: How many bytes the body may have at most.

    Raises:
        ContentError: if it is malformed, over a limit, or not written in that form.
        MissingBlock: if ``source`` lacks a block.
    """
    manifest = parse_content_manifest(source.get(root))
    form = ContentForm(key) if key else PLAIN
    _check_epoch(root, manifest.epoch, form.epoch)
    size, head = _parse_private(form.open_private(manifest.private))
    if size > body_limit:
        raise ContentError(f"the body of content {root} has {size} bytes, more than {body_limit}")
    rest = form.chunk_count(size - len(head))
    links = _raw_links(manifest.links, source)
    return Opened(head + read_chunks(list(islice(links, rest)), size - len(head), source, form), links, form)


def _check_epoch(root: CID, written: int | None, key: int | None) -> None:
    if written == key:
        return
    if written is None:
        raise ContentError(f"content {root} is plain, and should be encrypted in epoch {key}")
    if key is None:
        raise ContentError(f"content {root} is encrypted in epoch {written}, and there is no key for it")
    raise ContentError(f"content {root} is encrypted in epoch {written}, and the key is of epoch {key}")


def read_chunks(chunks: Sequence[CID], size: int, source: BlockSource, form: ContentForm = PLAIN) -> bytes:
    """The ``size`` bytes that ``chunks`` hold. Takes the memory of the bytes and of one chunk.

    Raises:
        ContentError: if they hold more or fewer, or do not open.
        MissingBlock: if ``source`` lacks one.
    """
    if len(chunks) == 1:
        (only,) = chunk_bytes(chunks, size, source, form)
        return only
    _check_count(chunks, size, form)
    joined = BytesIO(bytes(size))  # getvalue() gives that very object; joining a list or a bytearray would copy it
    with joined.getbuffer() as view:
        for start, chunk in zip(range(0, size, form.chunk_size), chunks, strict=True):
            room = view[start : start + form.chunk_size]
            form.open_chunk_in(room, _checked(source.get(chunk), len(room), form))
    return joined.getvalue()


def chunk_bytes(chunks: Sequence[CID], size: int, source: BlockSource, form: ContentForm = PLAIN) -> Iterator[bytes]:
    """What `read_chunks` joins, a chunk at a time. Raises what that does."""
    _check_count(chunks, size, form)
    for start, chunk in zip(range(0, size, form.chunk_size), chunks, strict=True):
        yield form.open_chunk(_checked(source.get(chunk), min(form.chunk_size, size - start), form))


def _check_count(chunks: Sequence[CID], size: int, form: ContentForm) -> None:
    if len(chunks) != form.chunk_count(size):
        raise ContentError(f"{size} bytes do not lie in {len(chunks)} chunks")


def _checked(chunk: bytes, size: int, form: ContentForm) -> bytes:
    if len(chunk) != size + form.overhead:
        raise ContentError(f"a chunk has {len(chunk)} bytes, and should have {size + form.overhead}")
    return chunk


def _parse_private(private: bytes) -> tuple[int, bytes]:
    try:
        value = decode_cbor(private)
    except BlockError as error:
        raise ContentError(f"the private part is no dag-cbor: {error}") from error
    match value:
        case [int(size), bytes(head)] if type(size) is int:
            if len(head) == min(size, HEAD_SIZE) or (not head and size > WHOLE_BODY):
                return size, head
    raise ContentError("the private part is not [size of the body, its head]")


def _raw_links(links: Listing, source: BlockSource) -> Iterator[CID]:
    try:
        for item in links.items(source):
            if not isinstance(item, CID) or not item.is_raw:
                raise ContentError("a content links something that is no raw chunk")
            yield item
    except (ContentError, MissingBlock):
        raise
    except BlockError as error:
        raise ContentError(f"the links of a content: {error}") from error

"""The manifest block of a content: ``{"links": [...], "epoch": null | n, "private": bytes}`` (design section 5).

``links`` are raw chunks, a tree once there are many. What the chunks mean is said in the *body*, one dag-cbor
value that only its readers understand: records and tensors (`strategy.content`), or the paths of an app bundle
(`protocol.bundle`). ``private`` is the dag-cbor list ``[size of the body, head of the body]``. A body of more
than ``HEAD_SIZE`` bytes goes on in the first of the linked chunks, so that a manifest block stays small whatever
an app sends; the chunks of the tensors follow.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from io import BytesIO
from itertools import islice
from typing import Annotated, Final

from msgspec import Meta

from protocol.blocks import (
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
from protocol.trees import Listing, pack
from protocol.typed import ShapeError, from_plain, to_plain

HEAD_SIZE: Final = 256 << 10
"""The most bytes of a body that stand in the manifest block itself."""


class ContentError(BlockError):
    """Blocks that are not a content, or one over a limit. The message says what is wrong with it."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """The manifest block, parsed. ``epoch`` is None where ``private`` and the chunks are plain."""

    links: Listing
    epoch: Annotated[int, Meta(ge=0, le=2**63 - 1)] | None
    private: bytes


@dataclass(frozen=True, slots=True)
class Opened:
    """A plain content's body, and the CIDs of the chunks that it tells about, in order.

    Reading ``chunks`` may raise ContentError or MissingBlock. It reads no more of a tree of links than is asked for.
    """

    body: bytes
    chunks: Iterator[CID]


def chunk_count(size: int) -> int:
    """How many chunks hold ``size`` bytes; each but the last is full."""
    return -(-size // CHUNK_SIZE)


def write_manifest(body: bytes, chunks: Sequence[CID]) -> tuple[CID, list[Block]]:
    """The CID of the plain content of ``body`` and ``chunks``, and its blocks, the manifest block first.

    The ``chunks`` themselves are not among them.
    """
    rest = [raw_block(body[start : start + CHUNK_SIZE]) for start in range(HEAD_SIZE, len(body), CHUNK_SIZE)]
    links, tree = pack([*(block.cid for block in rest), *chunks])
    private = encode_cbor([len(body), body[:HEAD_SIZE]])
    root = cbor_block(to_plain(Manifest(links, None, private)))
    return root.cid, [root, *tree, *rest]


def parse_manifest(data: bytes) -> Manifest:
    """The manifest of the bytes of its block.

    Raises:
        ContentError: where they are none.
    """
    try:
        return from_plain(decode_cbor(data), Manifest)
    except (BlockError, ShapeError) as error:
        raise ContentError(f"not the manifest of a content: {error}") from error


def open_plain(root: CID, source: BlockSource, *, body_limit: int) -> Opened:
    """Read the manifest and the body; the chunks stay where they are.

    Args:
        root: The CID of the manifest block.
        source: Where its blocks are.
        body_limit: The most bytes its body may take.

    Raises:
        ContentError: where it is malformed, encrypted, or over a limit.
        MissingBlock: where ``source`` lacks a block.
    """
    manifest = parse_manifest(source.get(root))
    if manifest.epoch is not None:
        raise ContentError(f"content {root} is encrypted in epoch {manifest.epoch}")
    size, head = _parse_private(manifest.private)
    if size > body_limit:
        raise ContentError(f"the body of content {root} has {size} bytes, more than {body_limit}")
    rest = chunk_count(size - len(head))
    links = _raw_links(manifest.links, source)
    return Opened(head + read_chunks(list(islice(links, rest)), size - len(head), source), links)


def read_chunks(chunks: Sequence[CID], size: int, source: BlockSource) -> bytes:
    """The ``size`` bytes that ``chunks`` hold, with no more memory than that and one chunk.

    Raises:
        ContentError: where they hold more or fewer.
        MissingBlock: where ``source`` lacks one.
    """
    if len(chunks) != chunk_count(size):
        raise ContentError(f"{size} bytes do not lie in {len(chunks)} chunks")
    if len(chunks) == 1:
        return _checked(source.get(chunks[0]), size)
    joined = BytesIO()  # its getvalue() gives the buffer itself, where joining a list or a bytearray copies once more
    for chunk in chunks:
        joined.write(_checked(source.get(chunk), min(CHUNK_SIZE, size - joined.tell())))
    return joined.getvalue()


def _checked(data: bytes, size: int) -> bytes:
    if len(data) != size:
        raise ContentError(f"a chunk has {len(data)} bytes where {size} are declared")
    return data


def _parse_private(private: bytes) -> tuple[int, bytes]:
    try:
        value = decode_cbor(private)
    except BlockError as error:
        raise ContentError(f"the private part is no dag-cbor: {error}") from error
    match value:
        case [int(size), bytes(head)] if type(size) is int and len(head) == min(size, HEAD_SIZE):
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

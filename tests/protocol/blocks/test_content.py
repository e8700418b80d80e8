"""`protocol.blocks.content`: a body of any size and its chunks, and nothing that only looks like them."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crypto.symmetric import ChunkNonce
from protocol.blocks.cid import CHUNK_SIZE, CID, Block, BlockSource, MissingBlock, cbor_block, encode_cbor, raw_block
from protocol.blocks.content import (
    HEAD_SIZE,
    PLAIN,
    WHOLE_BODY,
    ContentError,
    ContentForm,
    ContentKey,
    open_content,
    parse_content_manifest,
    read_chunks,
    write_manifest,
)


class Blocks(BlockSource):
    """A block source in memory."""

    def __init__(self, *blocks: Block) -> None:
        self.held = {block.cid: block.data for block in blocks}

    def get(self, cid: CID) -> bytes:
        if cid not in self.held:
            raise MissingBlock(cid)
        return self.held[cid]


def opened(root: CID, blocks: list[Block], *, body_limit: int = 1 << 24) -> tuple[bytes, list[CID]]:
    content = open_content(root, Blocks(*blocks), None, body_limit=body_limit)
    return content.body, list(content.chunks)


CHUNKS = [raw_block(bytes([number])).cid for number in range(5)]


@pytest.mark.parametrize(
    "size", [0, 1, WHOLE_BODY, WHOLE_BODY + 1, HEAD_SIZE, HEAD_SIZE + 1, HEAD_SIZE + CHUNK_SIZE, 3 * CHUNK_SIZE + 7]
)
@pytest.mark.parametrize("chunks", [[], CHUNKS])
@pytest.mark.parametrize("records", [True, False])
def test_a_body_of_any_size_comes_back_with_its_chunks(size: int, chunks: list[CID], records: bool) -> None:
    body = bytes(range(251)) * (size // 251) + bytes(size % 251)

    root, blocks = write_manifest(body, chunks, records=records)

    assert opened(root, blocks) == (body, chunks)
    assert all(len(block.data) <= CHUNK_SIZE for block in blocks)


def test_thousands_of_links_are_a_tree_and_the_manifest_stays_small() -> None:
    chunks = [raw_block(number.to_bytes(4, "big")).cid for number in range(20_000)]

    root, blocks = write_manifest(b"body", chunks)

    assert opened(root, blocks) == (b"body", chunks)
    assert len(blocks[0].data) < 200
    assert all(len(block.data) <= CHUNK_SIZE for block in blocks)


def test_a_body_over_the_limit_is_refused() -> None:
    root, blocks = write_manifest(bytes(101), [])

    with pytest.raises(ContentError, match="101 bytes, more than 100"):
        opened(root, blocks, body_limit=100)


def test_no_more_of_the_links_is_read_than_is_asked_for() -> None:
    root, blocks = write_manifest(b"", [raw_block(number.to_bytes(4, "big")).cid for number in range(20_000)])
    first_leaf = Blocks(*blocks[:3])

    chunks = open_content(root, first_leaf, None, body_limit=1).chunks

    assert next(chunks) == raw_block(bytes(4)).cid
    with pytest.raises(MissingBlock):
        list(chunks)


def private(size: object, head: object) -> bytes:
    return encode_cbor([size, head])


@pytest.mark.parametrize(
    "manifest",
    [
        {},
        {"links": [], "epoch": None},
        {"links": [], "epoch": None, "private": "text"},
        {"links": [], "epoch": None, "private": private(0, b""), "more": 1},
        {"links": [], "epoch": -1, "private": private(0, b"")},
        {"links": [], "epoch": True, "private": private(0, b"")},
        {"links": [], "epoch": 3, "private": private(0, b"")},
        {"links": 5, "epoch": None, "private": private(0, b"")},
        {"links": ["x"], "epoch": None, "private": private(0, b"")},
        {"links": [cbor_block([]).cid], "epoch": None, "private": private(0, b"")},
        {"links": CHUNKS[0], "epoch": None, "private": private(0, b"")},
        {"links": [], "epoch": None, "private": b""},
        {"links": [], "epoch": None, "private": private(1, b"")},
        {"links": CHUNKS[:1], "epoch": None, "private": private(WHOLE_BODY, b"")},
        {"links": [], "epoch": None, "private": private(-1, b"")},
        {"links": [], "epoch": None, "private": private(False, b"")},
        {"links": [], "epoch": None, "private": private(HEAD_SIZE + 1, bytes(HEAD_SIZE + 1))},
        {"links": [], "epoch": None, "private": private(HEAD_SIZE + 1, bytes(HEAD_SIZE))},
        {"links": CHUNKS[:1], "epoch": None, "private": private(HEAD_SIZE + 2, bytes(HEAD_SIZE))},
    ],
)
def test_what_is_no_plain_content_is_refused(manifest: object) -> None:
    block = cbor_block(manifest)

    with pytest.raises(ContentError):
        opened(block.cid, [block, *(raw_block(bytes([number])) for number in range(5))])


@given(st.binary(max_size=100))
@settings(max_examples=200)
def test_random_bytes_are_no_manifest(data: bytes) -> None:
    with pytest.raises(ContentError):
        parse_content_manifest(data)


def test_a_missing_block_of_the_tree_or_the_body_is_named() -> None:
    root, (manifest, rest) = write_manifest(bytes(HEAD_SIZE + 1), [])

    with pytest.raises(MissingBlock) as caught:
        opened(root, [manifest])
    assert caught.value.cid == rest.cid


@pytest.mark.parametrize(("sizes", "declared"), [([1], 2), ([2], 1), ([1, 1], 2), ([CHUNK_SIZE], CHUNK_SIZE + 1)])
def test_chunks_that_do_not_fill_what_is_declared_are_refused(sizes: list[int], declared: int) -> None:
    blocks = [raw_block(bytes(size)) for size in sizes]

    with pytest.raises(ContentError):
        read_chunks([block.cid for block in blocks], declared, Blocks(*blocks))


def test_nothing_lies_in_no_chunk() -> None:
    assert [PLAIN.chunk_count(size) for size in (0, 1, CHUNK_SIZE, CHUNK_SIZE + 1)] == [0, 1, 1, 2]
    assert read_chunks([], 0, Blocks()) == b""


# -- encrypted -----------------------------------------------------------------------------------------------------

KEY = ContentKey(3, b"k" * 32, ChunkNonce.GMAC)
FULL = ContentForm(KEY).chunk_size


@pytest.mark.parametrize(
    "size", [0, 1, HEAD_SIZE, HEAD_SIZE + 1, HEAD_SIZE + FULL, HEAD_SIZE + FULL + 1, 3 * CHUNK_SIZE]
)
def test_an_encrypted_body_of_any_size_comes_back_with_its_chunks(size: int) -> None:
    body = bytes(range(251)) * (size // 251) + bytes(size % 251)

    root, blocks = write_manifest(body, CHUNKS, ContentForm(KEY))

    content = open_content(root, Blocks(*blocks), KEY, body_limit=1 << 24)
    assert (content.body, list(content.chunks)) == (body, CHUNKS)
    assert all(len(block.data) <= CHUNK_SIZE for block in blocks)


def test_an_encrypted_body_over_the_limit_is_refused() -> None:
    root, blocks = write_manifest(bytes(HEAD_SIZE + 1), [], ContentForm(KEY))

    with pytest.raises(ContentError, match=f"more than {HEAD_SIZE}"):
        open_content(root, Blocks(blocks[0]), KEY, body_limit=HEAD_SIZE)


def test_a_rest_of_the_body_that_does_not_open_is_refused() -> None:
    other = ContentForm(ContentKey(3, b"l" * 32, ChunkNonce.GMAC))
    rest = raw_block(bytes(other.close_chunk(memoryview(b"\0"))))
    private = ContentForm(KEY).close_private(encode_cbor([HEAD_SIZE + 1, bytes(HEAD_SIZE)]))
    manifest = cbor_block({"links": [rest.cid], "epoch": 3, "private": private})

    with pytest.raises(ContentError, match="the chunk does not open"):
        open_content(manifest.cid, Blocks(manifest, rest), KEY, body_limit=1 << 24)


@given(st.binary(max_size=100))
def test_a_private_part_that_is_not_encrypted_with_the_key_is_refused(junk: bytes) -> None:
    manifest = cbor_block({"links": [], "epoch": 3, "private": junk})

    with pytest.raises(ContentError, match="the content does not open"):
        open_content(manifest.cid, Blocks(manifest), KEY, body_limit=1)

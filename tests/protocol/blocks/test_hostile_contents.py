"""Blocks that promise or expand to more than there is: refused before any of it is allocated or fetched."""

from __future__ import annotations

import tracemalloc

import pytest
from attacked import nowhere
from chains import Blocks, block_of

from protocol.blocks import cid as blocks
from protocol.blocks.bundle import BundleError, read_bundle
from protocol.blocks.cid import (
    CID,
    BlockError,
    MalformedBlock,
    MalformedCid,
    cbor_block,
    decode_cbor,
    encode_cbor,
    raw_block,
)
from protocol.blocks.content import ContentError, open_content, write_manifest
from protocol.blocks.listing import Listing, ListingError

BODY_LIMIT = 64 << 20


def test_a_listing_that_promises_2_to_the_60_items_gives_those_it_has() -> None:
    leaf = cbor_block([1, 2, 3])
    root = cbor_block({"count": 2**60, "leaves": [leaf.cid]})
    items = Listing(root.cid).items(Blocks({root.cid: root.data, leaf.cid: leaf.data}))
    with pytest.raises(ListingError, match="promises"):
        list(items)


def test_a_content_that_declares_a_terabyte_is_refused_by_its_first_block() -> None:
    manifest = cbor_block(
        {"links": [raw_block(b"1").cid], "epoch": None, "private": encode_cbor([1 << 40, bytes(1 << 18)])}
    )
    with pytest.raises(ContentError, match="more than"):
        open_content(manifest.cid, Blocks({manifest.cid: manifest.data}), None, body_limit=BODY_LIMIT)


def test_an_app_of_a_terabyte_is_refused_by_its_body() -> None:
    root, parts = write_manifest(encode_cbor([1, [["app.py", 1 << 40]]]), [])
    with pytest.raises(BundleError, match="more than"):
        read_bundle(root, Blocks({block.cid: block.data for block in parts}))


@pytest.fixture
def _few(monkeypatch: pytest.MonkeyPatch) -> None:
    """The limit, so small that it is passed soon."""
    monkeypatch.setattr(blocks, "MAX_CONTAINERS", 30_000)


@pytest.mark.usefixtures("_few")
@pytest.mark.parametrize("byte", [b"\x80", b"\xa0"], ids=["lists", "maps"])
def test_a_body_of_nothing_but_empty_containers_is_refused_before_it_is_in_memory(byte: bytes) -> None:
    count = 8 << 20
    data = b"\x9a" + count.to_bytes(4, "big") + byte * count
    tracemalloc.start()
    try:
        with pytest.raises(MalformedBlock, match="lists and maps"):
            decode_cbor(data, limit=BODY_LIMIT)
        assert tracemalloc.get_traced_memory()[1] < 1 << 20  # and not the half gigabyte that they would be
    finally:
        tracemalloc.stop()


@pytest.mark.usefixtures("_few")
def test_containers_are_counted_among_all_else() -> None:
    scalars = [1, 300, 70_000, 2**40, 1.5, -5, "text", "t" * 30, b"b" * 500, None, True, raw_block(b"").cid]
    few = [[scalars, {"a": []}]] * 7_000
    assert decode_cbor(encode_cbor(few), limit=BODY_LIMIT) == few
    with pytest.raises(MalformedBlock, match="lists and maps"):
        decode_cbor(encode_cbor(few + few), limit=BODY_LIMIT)


def test_bytes_that_look_like_containers_are_none() -> None:
    data = encode_cbor([b"\x80" * (4 << 20), "\x00" * 100])
    assert decode_cbor(data, limit=BODY_LIMIT)


@pytest.mark.parametrize(
    "cid",
    [
        bytes.fromhex("01711320") + bytes(32),  # sha2-512
        bytes.fromhex("01701220") + bytes(32),  # dag-pb
        bytes.fromhex("01711220") + bytes(31),
        bytes.fromhex("1220") + bytes(32),  # CIDv0
        bytes.fromhex("01710004") + bytes(4),  # identity: a block in its own name
    ],
    ids=["hash", "codec", "short", "version", "identity"],
)
def test_links_of_another_kind_are_none(cid: bytes) -> None:
    with pytest.raises(MalformedCid):
        CID(cid)
    with pytest.raises(BlockError):
        decode_cbor(b"\xd8\x2a\x58" + bytes([len(cid) + 1]) + b"\x00" + cid)


def test_a_value_that_nests_without_end_is_refused() -> None:
    with pytest.raises(MalformedBlock):
        decode_cbor(block_of(b"\x81" * 100_000).data)


def test_a_content_whose_chunks_nobody_has_says_so() -> None:
    root, parts = write_manifest(bytes(1 << 20), [nowhere("chunk")])
    with pytest.raises(BlockError):
        open_content(root, Blocks({parts[0].cid: parts[0].data}), None, body_limit=BODY_LIMIT)

"""Listings: in place while they are small, trees of blocks beyond; nothing else passes."""

from __future__ import annotations

import pytest
from chains import Blocks
from hypothesis import given
from hypothesis import strategies as st

from protocol.blocks.cid import MAX_BLOCK_SIZE, BlockError, MissingBlock, cbor_block, raw_block
from protocol.blocks.listing import INLINE_LIMIT, ITEM_LIMIT, LEAF_LIMIT, Listing, ListingError, pack

LONG = [bytes([n % 256]) * 1_000 for n in range(1_500)]


def packed(items: list[object]) -> tuple[Listing, Blocks]:
    listing, blocks = pack(items)
    source = Blocks()
    source.add(*blocks)
    return listing, source


def test_a_short_list_is_written_in_place():
    listing, blocks = pack([1, "two", b"three"])
    assert (listing.link, blocks) == (None, [])
    assert list(listing.items(Blocks())) == [1, "two", b"three"]


def test_the_empty_list_is_written_in_place():
    assert pack([]) == (Listing(()), [])


def test_a_long_list_is_a_tree_of_leaves_in_order():
    listing, source = packed(LONG)
    assert listing.link is not None
    assert list(listing.items(source)) == LONG
    assert list(listing.blocks(source)) == [listing.link, *[cid for cid in source if cid != listing.link]]
    assert all(len(data) <= LEAF_LIMIT + 8 for data in source.values())


def test_a_list_goes_into_blocks_just_past_the_limit():
    item = b"x" * 1_021  # 1,024 bytes as dag-cbor
    assert pack([item] * (INLINE_LIMIT // 1_024))[0].link is None
    assert pack([item] * (INLINE_LIMIT // 1_024 + 1))[0].link is not None


def test_the_largest_item_fills_a_block_of_its_own():
    listing, source = packed([b"small", b"x" * (ITEM_LIMIT - 5), b"small"])
    assert [len(item) for item in listing.items(source)] == [5, ITEM_LIMIT - 5, 5]
    assert all(len(data) <= MAX_BLOCK_SIZE for data in source.values())
    with pytest.raises(ListingError):
        pack([b"x" * ITEM_LIMIT])


def test_more_leaves_than_a_listing_holds_are_not_packed(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("protocol.blocks.listing.MAX_LEAVES", 2)
    with pytest.raises(ListingError):
        pack(LONG)


def test_listings_are_equal_if_they_are_written_the_same():
    listing, _ = packed(LONG)
    assert Listing((1, 2)) == Listing((1, 2)) != Listing((2, 1))
    assert listing == Listing(listing.link) != Listing(tuple(LONG))
    assert hash(Listing((1, 2))) == hash(Listing((1, 2)))


def test_a_leaf_that_is_not_here_is_missing():
    listing, source = packed(LONG)
    *_, leaf = listing.blocks(source)
    del source[leaf]
    with pytest.raises(MissingBlock) as caught:
        list(listing.items(source))
    assert caught.value.cid == leaf


LEAF = cbor_block([1, 2])
ROOTS = {
    "too few": {"count": 3, "leaves": [LEAF.cid]},
    "too many": {"count": 1, "leaves": [LEAF.cid]},
    "no leaves": {"count": 0, "leaves": []},
    "more fields": {"count": 2, "leaves": [LEAF.cid], "more": 1},
    "a count that is none": {"count": "2", "leaves": [LEAF.cid]},
    "a negative count": {"count": -1, "leaves": [LEAF.cid]},
    "a leaf that is no link": {"count": 2, "leaves": [[1, 2]]},
    "a raw leaf": {"count": 2, "leaves": [raw_block(b"").cid]},
    "an empty leaf": {"count": 2, "leaves": [LEAF.cid, cbor_block([]).cid]},
    "a leaf that is no list": {"count": 1, "leaves": [cbor_block({}).cid]},
    "no map": [LEAF.cid],
}


@pytest.mark.parametrize("root", ROOTS.values(), ids=ROOTS.keys())
def test_a_root_that_does_not_say_what_there_is_is_refused(root: object):
    source = Blocks()
    block = cbor_block(root)
    source.add(block, LEAF, cbor_block([]), cbor_block({}))
    with pytest.raises(ListingError):
        list(Listing(block.cid).items(source))


def test_a_root_of_too_many_leaves_is_refused(monkeypatch: pytest.MonkeyPatch):
    listing, source = packed(LONG)
    monkeypatch.setattr("protocol.blocks.listing.MAX_LEAVES", 2)
    with pytest.raises(ListingError):
        list(listing.items(source))


@given(st.binary(max_size=200), st.binary(max_size=200))
def test_no_bytes_make_a_listing_raise_anything_else(root: bytes, leaf: bytes):
    head = cbor_block("any").cid
    source = Blocks({head: root})
    with pytest.raises(BlockError):
        list(Listing(head).items(source))
    tree = cbor_block({"count": 1, "leaves": [head]})
    source = Blocks({tree.cid: tree.data, head: leaf})
    try:
        list(Listing(tree.cid).items(source))
    except BlockError:
        return
    assert leaf[0] == 0x81  # a list of one item


@given(st.lists(st.binary(max_size=4_000), max_size=60))
def test_what_is_packed_unpacks_to_itself(items: list[bytes]):
    listing, source = packed(items)
    assert list(listing.items(source)) == items

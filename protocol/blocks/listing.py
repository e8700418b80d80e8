"""Lists that may outgrow a block.

A small `Listing` is written in place. A larger one is a link to a root block ``{"count": n, "leaves": [CID, ...]}``,
whose leaves are dag-cbor lists of the items, in order. Two levels hold half a gigabyte, and nobody can send a reader in
circles.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final, TypeVar

from protocol.blocks.cid import (
    CID,
    MAX_BLOCK_SIZE,
    Block,
    BlockError,
    BlockSource,
    cbor_block,
    decode_cbor,
    encode_cbor,
)

T = TypeVar("T")

INLINE_LIMIT: Final = 64 << 10
"""How many bytes of dag-cbor a listing in place has at most."""

LEAF_LIMIT: Final = 512 << 10
"""How many bytes a leaf with several items has at most."""

ITEM_LIMIT: Final = MAX_BLOCK_SIZE - 64
"""How many bytes one item has at most. It may fill a leaf alone (a look at 65,536 nodes takes 590,000)."""

MAX_LEAVES: Final = 1_024


class ListingError(BlockError):
    """A listing whose blocks do not hold what its root says."""


class Listing:
    """A list in place, or the link to its tree. Two are equal if they are written the same way."""

    __slots__ = ("_typed", "value")

    def __init__(self, value: tuple[Any, ...] | CID) -> None:
        self.value = value
        self._typed: dict[object, tuple[Any, ...]] = {}

    def typed(self, kind: object, make: Callable[[Any], T]) -> tuple[T, ...]:
        """The items of a list in place, each made a ``kind`` by ``make``. The result is kept for the next call."""
        assert not isinstance(self.value, CID)
        if kind not in self._typed:
            self._typed[kind] = tuple(make(item) for item in self.value)
        return self._typed[kind]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Listing) and self.value == other.value

    def __hash__(self) -> int:
        return hash(repr(self.value))

    def __repr__(self) -> str:
        return f"Listing({self.value!r})"

    @property
    def link(self) -> CID | None:
        """The root block of the tree, None if the list is in place."""
        return self.value if isinstance(self.value, CID) else None

    def items(self, source: BlockSource) -> Iterator[Any]:
        """The items as plain dag-cbor values, one leaf in memory at a time.

        Raises:
            MissingBlock: if ``source`` lacks a block of the tree.
            ListingError: if the tree is malformed.
        """
        if not isinstance(self.value, CID):
            yield from self.value
            return
        count, leaves = _root(source.get(self.value))
        seen = 0
        for leaf in leaves:
            items = decode_cbor(source.get(leaf))
            if not isinstance(items, list) or not items:
                raise ListingError(f"leaf {leaf} is no list of items")
            seen += len(items)
            if seen > count:
                break
            yield from items
        if seen != count:
            raise ListingError(f"{self.value} promises {count} items and holds {seen}")

    def blocks(self, source: BlockSource) -> Iterator[CID]:
        """The CIDs of the tree's blocks, root first; none if the list is in place."""
        if isinstance(self.value, CID):
            yield self.value
            yield from _root(source.get(self.value))[1]


EMPTY: Final = Listing(())
"""No items."""


def pack(items: Iterable[Any], in_place: int = INLINE_LIMIT) -> tuple[Listing, list[Block]]:
    """The listing of plain dag-cbor ``items``, and the blocks to store with it. If the items have ``in_place`` bytes or
    fewer, they stand in place and there are no blocks.

    Raises:
        ListingError: if an item is larger than `ITEM_LIMIT`, or there are too many.
    """
    leaves: list[list[Any]] = [[]]
    size = total = count = 0
    for item in items:
        length = len(encode_cbor(item))
        if length > ITEM_LIMIT:
            raise ListingError(f"an item of {length} bytes is larger than {ITEM_LIMIT}")
        if leaves[-1] and size + length > LEAF_LIMIT:
            leaves.append([])
            size = 0
        leaves[-1].append(item)
        size, total, count = size + length, total + length, count + 1
    if total <= in_place:
        return Listing(tuple(leaves[0])), []
    if len(leaves) > MAX_LEAVES:
        raise ListingError(f"{count} items are more than a listing holds")
    blocks = [cbor_block(leaf) for leaf in leaves]
    root = cbor_block({"count": count, "leaves": [block.cid for block in blocks]})
    return Listing(root.cid), [root, *blocks]


def _root(data: bytes) -> tuple[int, list[CID]]:
    value = decode_cbor(data)
    match value:
        case {"count": int(count), "leaves": list(leaves)} if len(value) == 2 and 0 < len(leaves) <= MAX_LEAVES:
            if all(isinstance(leaf, CID) and not leaf.is_raw for leaf in leaves):
                return count, leaves
    raise ListingError("the root of a listing is not {count, leaves}")

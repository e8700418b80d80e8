"""Following links: all blocks under one root."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from protocol.blocks.cid import CID, Block, MissingBlock, decode_cbor


def links_of(block: Block) -> list[CID]:
    """Every CID in ``block``, in the order of its bytes; none in a raw block.

    Raises:
        protocol.blocks.cid.MalformedBlock: if it is not canonical dag-cbor.
    """
    if block.cid.is_raw:
        return []
    found: list[CID] = []
    pending: list[object] = [decode_cbor(block.data)]
    while pending:
        value = pending.pop()
        if isinstance(value, CID):
            found.append(value)
        elif isinstance(value, dict):
            pending.extend(reversed(value.values()))
        elif isinstance(value, list):
            pending.extend(reversed(value))
    return found


def walk(root: CID, read: Callable[[CID], Block]) -> Iterator[Block]:
    """``root`` and all that it links to, each once: a block, then those that it links to, in the order of the links.
    ``ipfs dag export`` has the same order."""
    seen = {root}
    pending = [root]
    while pending:
        block = read(pending.pop())
        yield block
        fresh = [cid for cid in dict.fromkeys(links_of(block)) if cid not in seen]
        seen.update(fresh)
        pending.extend(reversed(fresh))


def visited(root: CID, links: Callable[[CID], Iterable[CID]]) -> Iterator[CID]:
    """``root`` and all that it links to, in the order of `walk`. What a block links to is asked for after it."""
    seen = {root}
    pending = [root]
    while pending:
        cid = pending.pop()
        yield cid
        fresh = [each for each in dict.fromkeys(links(cid)) if each not in seen]
        seen.update(fresh)
        pending.extend(reversed(fresh))


def reached(root: CID, links: Callable[[CID], Iterable[CID]]) -> list[CID]:
    """``root`` and all that it links to, as they are met. Each is looked at once, however many ways lead to it."""
    seen = {root: None}
    pending = [root]
    while pending:
        fresh = [cid for cid in dict.fromkeys(links(pending.pop())) if cid not in seen]
        seen |= dict.fromkeys(fresh)
        pending.extend(reversed(fresh))
    return list(seen)


def complete(root: CID, blocks: Iterable[Block]) -> Iterator[Block]:
    """``blocks`` as they come, checked to be ``root`` and all that it links to.

    A Kubo that lacks a block ends its export there as if it were whole: the error is in an HTTP trailer only.

    Raises:
        protocol.blocks.cid.MissingBlock: at the end, if a linked block did not come.
    """
    linked = {root: None}  # a dictionary keeps their order, so the first missing block is named
    came: set[CID] = set()
    for block in blocks:
        came.add(block.cid)
        linked.update(dict.fromkeys(links_of(block)))
        yield block
    for cid in linked:
        if cid not in came:
            raise MissingBlock(cid)

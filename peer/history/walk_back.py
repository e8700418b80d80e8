"""Walking back from a head to the run record, along ``prev``. Only hashes are checked here: verifying comes after."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable

from peer.history.named_runs import NoSuchRun
from peer.history.run_sources import RunSource
from peer.history.scratch import Scratch
from peer.history.verdict import MISSING_BLOCK, Finding
from protocol.blocks.cid import CID, Block, BlockError, BlockMismatch, MissingBlock
from protocol.chain import rules
from protocol.records.bodies import Chained, Index
from protocol.records.signed_records import parse_record, read_record


def walk_back(head: CID, source: RunSource, scratch: Scratch, head_height: int | None) -> Finding | None:
    """Note every record from ``head`` to the run record in ``scratch``. Returns what stands in the way, if anything.

    ``head_height`` is the head's height if somebody else knows it, because a damaged head does not tell.

    Raises:
        PeerError: if ``head`` is sound, and not a record of a chain.
        EngineError: if the engine cannot be used.
    """
    link: CID | None = head
    height = head_height
    while link is not None:
        try:
            record = read_record(link, source)
        except MissingBlock as error:
            return Finding(height, error.cid, MISSING_BLOCK, f"record {link} cannot be found")
        except BlockError as error:
            if link == head and not isinstance(error, BlockMismatch):
                raise _not_a_head(head, "no record") from error
            return _broken(link, height, error)
        body = record.body
        if not isinstance(body, Chained):
            if link == head:
                raise _not_a_head(head, f"a {body.TYPE} record")
            return Finding(height, link, rules.ChainedType.name, f"{link} is a {body.TYPE}")
        scratch.add_older(link)
        if isinstance(body, Index):
            source.prefetch(body.records[::-1])
        link, height = body.prev, body.height - 1
    return None


def _not_a_head(cid: CID, what: str) -> NoSuchRun:
    return NoSuchRun(
        f"{cid} is {what}, not one in the chain of a run",
        fix="peer ls shows this home's runs; peer show CID shows any block",
    )


def _broken(cid: CID, height: int | None, error: BlockError) -> Finding:
    if height is None and isinstance(error, BlockMismatch):
        height = claimed_height(error.data)
    return Finding(height, cid, rules.as_rule(error).name, f"{error}")


def height_above(blocks: Iterable[Block]) -> int:
    """The height of the record after all records of a chain among ``blocks``."""
    highest = -1
    for block in blocks:
        with contextlib.suppress(BlockError):  # it is something else
            body = parse_record(block).body
            highest = max(highest, body.height if isinstance(body, Chained) else -1)
    return highest + 1


def claimed_height(data: bytes) -> int | None:
    """The height that the bytes of a damaged record seem to claim."""
    key = b"\x66height"  # the text "height" as dag-cbor writes it; an unsigned number follows
    at = data.find(key)
    if at < 0:
        return None
    head = data[at + len(key) : at + len(key) + 9]
    if not head or head[0] > 0x1B:
        return None
    if head[0] < 0x18:
        return head[0]
    size = 1 << (head[0] - 0x18)
    return int.from_bytes(head[1 : 1 + size], "big") if len(head) > size else None

"""A run as a stream of blocks, newest record first, and back into an engine."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator

from peer.base.errors import ExitCode, PeerError
from peer.engine.interface import Engine
from peer.engine.linked_blocks import links_of
from peer.history.run_sources import RunSource
from peer.history.scratch import Scratch
from peer.history.verdict import MISSING_BLOCK
from peer.history.walk_back import walk_back
from peer.home.acks_grants_proofs import NOTHING, AcksGrantsProofs
from protocol.blocks.cid import CID, Block, BlockError, MissingBlock
from protocol.chain.closure import contents
from protocol.records.bodies import Ack
from protocol.records.signed_records import parse_record, typed_items

CONTENT_LIMIT = 1 << 44
"""Bytes of one content at most. The audit checks it against the federation's own limit."""
BATCH = 8 << 20
"""Bytes that are put into an engine at once."""


def run_blocks(head: CID, source: RunSource, scratch: Scratch, beside: AcksGrantsProofs = NOTHING) -> Iterator[Block]:
    """Every block of the run, each once: a record, what it needs, the contents it names; then the record before it.

    What is ``beside`` the chain comes last: grants with what they link, acks with their replies, and proofs. ``source``
    need not have it.

    Raises:
        PeerError: if ``head`` is no head, or a block of the run is missing or damaged.
    """
    finding = walk_back(head, source, scratch, None)
    if finding is not None:
        raise _not_whole(finding.message) if finding.rule == MISSING_BLOCK else _wrong(head, finding.message)
    for cid in scratch.newest_first():
        yield from _whole(head, Block(cid, source.get(cid)), source, scratch)
    for block in beside.grants:
        yield from _whole(head, block, source, scratch)
    for block in (*beside.statements(), *_listed(beside, source)):
        if scratch.see(block.cid, len(block.data)):
            yield block


def _listed(beside: AcksGrantsProofs, source: RunSource) -> Iterator[Block]:
    """The replies that acks list, as far as they are here, even if no collect took them."""
    for block in beside.acks:
        ack = parse_record(block).body
        for link in typed_items(ack.replies, CID, source) if isinstance(ack, Ack) else ():
            with contextlib.suppress(MissingBlock):
                yield Block(link, source.get(link))


def _whole(head: CID, block: Block, source: RunSource, scratch: Scratch) -> Iterator[Block]:
    """One record, and what belongs to it."""
    try:
        yield from _record_blocks(block, source, scratch)
    except MissingBlock as error:
        raise _not_whole(f"record {block.cid} needs {error}") from error
    except BlockError as error:
        raise _wrong(head, f"record {block.cid}: {error}") from error


def _record_blocks(block: Block, source: RunSource, scratch: Scratch) -> Iterator[Block]:
    """A record with its listings, replies and manifests, then its contents, without the blocks that came before."""
    roots = dict.fromkeys(contents(parse_record(block), source))
    pending = [block]
    while pending:
        block = pending.pop()
        if scratch.see(block.cid, len(block.data)):
            yield block
            pending.extend(
                Block(link, source.get(link))
                for link in reversed(links_of(block))
                if link not in roots and not scratch.in_chain(link) and scratch.size_of(link) is None
            )
    for root in roots:
        if scratch.size_of(root) is None:
            yield from (each for each in source.content(root, CONTENT_LIMIT) if scratch.see(each.cid, len(each.data)))


def _wrong(head: CID, why: str) -> PeerError:
    return PeerError(
        f"the run cannot be exported, because something in it is wrong: {why}",
        fix=f"peer audit {head} says more",
        code=ExitCode.VERIFICATION_FAILED,
    )


def _not_whole(why: str) -> PeerError:
    return PeerError(
        f"the run is not whole here: {why}",
        fix="name the engine that has all of it with --ipfs ENGINE",
        code=ExitCode.UNFINISHED,
    )


def put_all(engine: Engine, blocks: Iterable[Block]) -> int:
    """Store blocks, a batch in memory at a time. They are on disk at return. Returns how many there were."""
    batch: list[Block] = []
    size = count = 0
    for block in blocks:
        batch.append(block)
        size, count = size + len(block.data), count + 1
        if size >= BATCH:
            engine.put(batch)
            batch, size = [], 0
    engine.put(batch)
    return count

"""A run as a stream of blocks, newest record first, and back into an engine."""

from __future__ import annotations

import contextlib
from collections.abc import Container, Iterable, Iterator

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
from protocol.keeping.droppable import Kind, RunSoFar, stays
from protocol.keeping.exchanges import LinkedExchanges
from protocol.keeping.plan import KEEP_EVERYTHING
from protocol.records.bodies import Ack, Close, Run
from protocol.records.signed_records import parse_record, read_record, typed_items

CONTENT_LIMIT = 1 << 44
"""Bytes of one content at most. The audit checks it against the federation's own limit."""
BATCH = 8 << 20
"""Bytes that are put into an engine at once."""


class MayLack:
    """Which contents of a run a file may lack, because the run's plan lets them go; and which it did lack.

    Whether an auditor has confirmed something, and which model is the best, is for whoever audits the file.
    """

    def __init__(self, dropped: Container[CID] = frozenset()) -> None:
        """``dropped`` are the contents that this home dropped, whatever the run's plan."""
        self._dropped = dropped
        self.lacked = 0
        """How many contents were not here, and need not be."""
        self.lacked_here = 0
        """How many of them the run's plan keeps, and this home dropped by its own."""
        self._exchanges = LinkedExchanges()
        self._plan = KEEP_EVERYTHING
        self._run = RunSoFar(0, closed=False)
        self._scratch: Scratch | None = None

    def read(self, source: RunSource, scratch: Scratch) -> None:
        """Read which exchange links what, if not everything stays. ``scratch`` has the records of the chain."""
        run = read_record(next(scratch.oldest_first()), source).body
        if not isinstance(run, Run) or run.plan == KEEP_EVERYTHING:
            return
        self._plan, self._scratch = run.plan, scratch
        closed = False
        for cid in scratch.oldest_first():
            record = read_record(cid, source)
            closed = isinstance(record.body, Close)
            for content, kind, number in self._exchanges.take(record, source):
                scratch.use(content, "" if kind is None else kind.value, number)
        self._run = RunSoFar(len(self._exchanges), closed, audited=scratch.length())

    def lack(self, content: CID) -> bool:
        """Whether a content, which is not here, need not be in the file. It is counted then."""
        by_run = self._may_go(content)
        if not by_run and content not in self._dropped:
            return False
        self.lacked += 1
        self.lacked_here += not by_run
        return True

    def _may_go(self, content: CID) -> bool:
        uses = [] if self._scratch is None else self._scratch.uses_of(content)
        return bool(uses) and not any(
            not kind or stays(Kind(kind), self._exchanges.at(number), self._plan, self._run) for kind, number in uses
        )


def run_blocks(
    head: CID,
    source: RunSource,
    scratch: Scratch,
    beside: AcksGrantsProofs = NOTHING,
    may_lack: MayLack | None = None,
) -> Iterator[Block]:
    """Every block of the run, each once: a record, what it needs, the contents it names; then the record before it.

    What is ``beside`` the chain comes last: grants with what they link, acks with their replies, and proofs. ``source``
    need not have it. Nor need it have the contents that ``may_lack`` tells; of those, it gives what is here.

    Raises:
        PeerError: if ``head`` is no head, or a block of the run is missing or damaged.
    """
    finding = walk_back(head, source, scratch, None)
    if finding is not None:
        raise _not_whole(finding.message) if finding.rule == MISSING_BLOCK else _wrong(head, finding.message)
    lacks = may_lack or MayLack()
    try:
        lacks.read(source, scratch)
    except MissingBlock as error:
        raise _not_whole(str(error)) from error
    except BlockError as error:
        raise _wrong(head, str(error)) from error
    for cid in scratch.newest_first():
        yield from _whole(head, Block(cid, source.get(cid)), source, scratch, lacks)
    for block in beside.grants:
        yield from _whole(head, block, source, scratch, lacks)
    for block in (*beside.statements(), *_listed(beside, source, scratch)):
        if scratch.see(block.cid, len(block.data)):
            yield block


def _listed(beside: AcksGrantsProofs, source: RunSource, scratch: Scratch) -> Iterator[Block]:
    """The replies that acks list, as far as they are here, even if no collect took them; and the records that they
    confirm, if the chain does not have them."""
    for block in beside.acks:
        ack = parse_record(block).body
        if not isinstance(ack, Ack):
            continue
        head = [] if scratch.in_chain(ack.head) else [ack.head]
        for link in (*typed_items(ack.replies, CID, source), *head):
            with contextlib.suppress(MissingBlock):
                yield Block(link, source.get(link))


def _whole(head: CID, block: Block, source: RunSource, scratch: Scratch, may_lack: MayLack) -> Iterator[Block]:
    """One record, and what belongs to it."""
    try:
        yield from _record_blocks(block, source, scratch, may_lack)
    except MissingBlock as error:
        raise _not_whole(f"record {block.cid} needs {error}") from error
    except BlockError as error:
        raise _wrong(head, f"record {block.cid}: {error}") from error


def _record_blocks(block: Block, source: RunSource, scratch: Scratch, may_lack: MayLack) -> Iterator[Block]:
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
            yield from _content(root, source, scratch, may_lack)


def _content(root: CID, source: RunSource, scratch: Scratch, may_lack: MayLack) -> Iterator[Block]:
    try:
        yield from (each for each in source.content(root, CONTENT_LIMIT) if scratch.see(each.cid, len(each.data)))
    except MissingBlock:
        if not may_lack.lack(root):
            raise
        source.hurry()
        if scratch.size_of(root) is None:
            with contextlib.suppress(MissingBlock):  # its first block has what clients measured, and may be here
                block = Block(root, source.get(root))
                scratch.see(root, len(block.data))
                yield block


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

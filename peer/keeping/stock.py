"""Taking stock: which contents the runs of a home link, and how much of that is on its disk.

The journal keeps what was found (`peer.home.kept_contents`), so that only new records are read. No content is hashed or
read: an engine tells the sizes of blocks.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import islice
from typing import Final

from peer.engine.interface import Engine, EngineError
from peer.engine.linked_blocks import links_of, reached
from peer.home.journal import Journal, RunHead
from peer.home.kept_contents import Entry, Kind, StockOfRun
from protocol.blocks.cid import CID, Block, BlockError, BlockSource, cbor_data_block
from protocol.records.bodies import Chained, Close, Collect, Dispatch, Group, Reply, Role, Run, TakenReply
from protocol.records.signed_records import Record, answers, checked_record, parse_record, typed_items
from protocol.run_names import SHOWN

_FEW: Final = 256
"""Entries that are kept in one transaction."""

_WAIT: Final = 0.5
"""Seconds for one block that should be here."""

_LATE: Final = 2
"""Exchanges before the oldest that waits, or the newest, whose contents may still come."""


class _Read:
    """An engine's blocks, as far as they are here, and the bytes that were read."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._seen: dict[CID, bytes] = {}

    def get(self, cid: CID) -> bytes:
        if cid not in self._seen:
            self._seen[cid] = self._engine.get(cid, timeout=_WAIT)
        return self._seen[cid]

    def see(self, cid: CID) -> None:
        """Count a block that only some members have."""
        if self._engine.has(cid):
            self.get(cid)

    @property
    def size(self) -> int:
        return sum(map(len, self._seen.values()))


@dataclass(frozen=True, slots=True)
class Stock:
    """Takes stock of the runs of a home."""

    engine: Engine
    journal: Journal

    def take(self, run: CID, head: CID, *, everywhere: bool = False) -> int:
        """Note what the records of a run link, up to its ``head``, and which of that has come here. Returns how many
        bytes are new. Unless it looks ``everywhere``, what did not come with the exchange in which it was linked is
        not looked for again.

        Raises:
            EngineError: if the engine cannot be used, or a record is not here. What was noted before stays.
            BlockError: if a record is damaged.
        """
        contents = self.journal.contents
        since = 0 if everywhere else max(0, contents.oldest_open(run) - _LATE)
        grown = 0
        whole = self.engine.keeps(head)
        absent: set[CID] = set()
        for some in _batches(self._new(run, head)):
            for kind, content in (each for entry in some for each in entry.contents):
                if content in absent:
                    continue
                if self._is_here(content, whole=whole):  # first: after a crash nobody would look at old ones again
                    grown += self._hold(run, kind, content)
                else:
                    absent.add(content)
            added = contents.add(run, some[0].after, some)
            if added is None:  # another process takes stock too, as `peer du` does beside a running peer
                break
            grown += added
        for link in contents.unseen(run, since):
            if link.content not in absent and self._is_here(link.content, whole=whole):
                grown += self._hold(run, link.kind, link.content)
        return grown

    def take_all(self) -> list[str]:
        """`take` of every run of this engine. Returns why some could not be taken."""
        failed: list[str] = []
        for head in self.journal.heads():
            try:
                self.take(head.run, head.head, everywhere=head.role in (Role.AUDITOR, Role.KEEPER))
            except (EngineError, BlockError) as error:
                failed.append(f"the run {head.run}: {error}")
        return failed

    def is_taken(self, head: RunHead) -> bool:
        """Whether the stock of a run is taken up to its head."""
        known = self.journal.contents.stock_of(head.run)
        return known is not None and known.head == head.head

    def know_others(self, run: CID) -> None:
        """Know what all runs of this engine need but ``run``.

        Raises:
            EngineError: if one cannot be read. Nobody can tell then what it needs.
        """
        for head in self.journal.heads():
            if head.run == run or self.is_taken(head) or not self.engine.has(head.head):  # that is of another engine
                continue
            try:
                self.take(head.run, head.head)
            except (EngineError, BlockError) as error:
                raise EngineError(
                    f"the run {head.run} cannot be read here, so nobody knows what it needs: {error}",
                    f"start a member that has it, or forget it: peer forget {str(head.run)[:SHOWN]}",
                ) from error

    def blocks_of(self, content: CID) -> list[CID]:
        """The blocks of a content, as far as what links them is here."""

        def links(cid: CID) -> Iterable[CID]:
            if cid.is_raw or not self.engine.has(cid):
                return ()
            return links_of(Block(cid, self.engine.get(cid, timeout=_WAIT)))

        return reached(content, links)

    def chunks_of(self, content: CID) -> list[CID]:
        """Those of them that go if it is dropped. The first one, which has what a client measured, stays."""
        return [block for block in self.blocks_of(content) if block.is_raw]

    def record_blocks(self, run: CID, head: CID) -> list[CID]:
        """Every block of a run that is not part of a content: records, with what they link besides. The newest first,
        as far as they are here."""
        contents = {link.content for link in self.journal.contents.links(run)}
        found: dict[CID, None] = {}
        pending = [head]
        while pending:
            cid = pending.pop()
            if cid in found or cid in contents or not self.engine.has(cid):
                continue
            found[cid] = None
            with contextlib.suppress(EngineError, BlockError):
                pending.extend(() if cid.is_raw else links_of(Block(cid, self.engine.get(cid, timeout=_WAIT))))
        return list(found)

    def _new(self, run: CID, head: CID) -> Iterator[Entry]:
        """What records say that are newer than the stock, the oldest first."""
        known = self.journal.contents.stock_of(run)
        chain: list[CID] = []
        cid: CID | None = head
        while cid is not None and (known is None or cid != known.head):
            body = parse_record(Block(cid, self.engine.get(cid, timeout=_WAIT))).body
            assert isinstance(body, Chained)  # a head was verified before it was kept
            if not chain and known is not None and body.height <= known.height and not self._is_lost(known, body):
                return  # another process has taken stock beyond it
            chain.append(cid)
            cid = body.prev
        if cid is None and known is not None:  # what we knew is not in this chain
            self.journal.contents.begin_again(run)
        after = cid
        for each in reversed(chain):
            read = _Read(self.engine)
            yield replace(_entry(checked_record(each, read), read), after=after)
            after = each

    def _is_lost(self, known: StockOfRun, head: Chained) -> bool:
        """Whether the record up to which stock is taken is in an older term than the run's head, which is not higher:
        a takeover has lost it."""
        if not self.engine.has(known.head):
            return True
        body = parse_record(Block(known.head, self.engine.get(known.head, timeout=_WAIT))).body
        return isinstance(body, Chained) and body.term < head.term

    def _is_here(self, content: CID, *, whole: bool) -> bool:
        """Whether a content is here as one that this home keeps, or keeps with the ``whole`` run."""
        return self.engine.has(content) if whole else self.engine.keeps(content)

    def _hold(self, run: CID, kind: Kind, content: CID) -> int:
        """Note a content that is here. Returns how many bytes are new."""
        sizes = self.engine.sizes(self.blocks_of(content))
        return self.journal.contents.hold(run, kind, content, sizes, time.time())


def _batches(entries: Iterator[Entry]) -> Iterator[list[Entry]]:
    while some := list(islice(entries, _FEW)):
        yield some


def _entry(record: Record, read: _Read) -> Entry:
    """What a record adds."""
    sent: tuple[bytes, ...] = ()
    models: tuple[CID, ...] = ()
    answered: list[bytes] = []
    updates: list[tuple[bytes, CID]] = []
    app: CID | None = None
    of_run: tuple[CID, ...] = ()
    plan = ""
    body = record.body
    assert isinstance(body, Chained)
    match body:
        case Run(bundle=bundle, initial_model=model, seed=seed):
            app, of_run, plan = bundle, () if model is None else (model,), body.plan.text_if_any
            read.see(seed)
        case Dispatch(groups=groups):
            listed = list(typed_items(groups, Group, read))
            sent = tuple(message for group in listed for message, _ in group.to)
            models = tuple(dict.fromkeys(group.content for group in listed))
        case Collect():
            for reply, message in _replies(body, read):
                answered.append(message)
                if reply is not None and reply.content is not None:
                    updates.append((message, reply.content))
            updates += _late_updates(body, read)
        case Close(model=CID() as model):
            of_run = (model,)
        case _:
            pass
    return Entry(record.cid, body.height, read.size, sent, tuple(answered), models, tuple(updates), app, of_run, plan)


def _late_updates(collect: Collect, source: BlockSource) -> Iterator[tuple[bytes, CID]]:
    """The contents of the late replies that a collect tells of, each with its message. Only their authors have them: in
    a client's home they come and go with the exchange of the collect."""
    for data in typed_items(collect.late_replies, bytes, source):
        reply = parse_record(cbor_data_block(data)).body
        if isinstance(reply, Reply) and reply.content is not None:
            yield reply.message, reply.content


def _replies(collect: Collect, source: BlockSource) -> Iterator[tuple[Reply | None, bytes]]:
    """The replies that a collect takes or refuses, each with the message it answers."""
    for answer in answers(collect, source):
        link = answer.reply if isinstance(answer, TakenReply) else answer.refused
        body = None if link is None else checked_record(link, source).body
        reply = body if isinstance(body, Reply) else None
        if reply is not None:
            yield reply, reply.message
        elif not isinstance(answer, TakenReply):
            yield None, answer.message

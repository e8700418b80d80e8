"""What survives a crash: a peer's blocks, heads and replies."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator
from dataclasses import dataclass, field, replace

from protocol.blocks.cid import CID, Block, MissingBlock, decode_cbor
from protocol.records.bodies import Chained
from protocol.records.equivocation import Equivocation
from protocol.records.signed_records import Record, parse_record
from protocol.roles.effects import (
    AskOwner,
    Durable,
    KeepAcks,
    KeepManifest,
    KeepPlace,
    KeepProof,
    KeepReply,
    KeepVote,
    KeepWatched,
    KeepWhole,
    Store,
    WriteHead,
)


@dataclass
class Disk:
    """The disk of one peer. What is put here is synced: a step happens whole, or not at all."""

    blocks: dict[CID, bytes] = field(default_factory=dict)
    heads: dict[CID, WriteHead] = field(default_factory=dict)
    """By run."""
    replies: dict[bytes, KeepReply] = field(default_factory=dict)
    """By message, in the order in which they were kept."""
    well_signed: set[CID] = field(default_factory=set)
    """Records whose signatures were found right."""
    acks: dict[CID, Block] = field(default_factory=dict)
    proofs: list[Equivocation] = field(default_factory=list)
    votes: dict[CID, KeepVote] = field(default_factory=dict)
    """The newest in each run."""
    manifest: CID | None = None
    asked: set[CID] = field(default_factory=set)
    """Apps that the owner was asked to approve."""
    approved: set[CID] = field(default_factory=set)
    unpacked: set[CID] = field(default_factory=set)
    watched: set[CID] = field(default_factory=set)
    """Runs in which their leader has heard another server."""
    complete: set[CID] = field(default_factory=set)
    """Runs that a keeper found whole."""
    is_restored: bool = False
    """Whether it was put back to an older copy."""
    starts: int = 0
    """The number of the newest process."""

    def get(self, cid: CID) -> bytes:
        """The block, as a `protocol.blocks.cid.BlockSource`."""
        try:
            return self.blocks[cid]
        except KeyError:
            raise MissingBlock(cid) from None

    @property
    def closed(self) -> CID | None:
        """The head of a closed run, if there is one."""
        return next((head.head for head in self.heads.values() if head.closed), None)

    def put(self, blocks: Iterable[Block]) -> None:
        """Store blocks."""
        self.blocks.update((block.cid, block.data) for block in blocks)

    def carry_out(self, effect: Durable) -> None:
        """Make a durable step true."""
        match effect:
            case Store():
                self.put(effect.blocks)
            case WriteHead():
                self._write_head(effect)
            case KeepReply():
                if effect.reply not in self.blocks:
                    raise AssertionError(f"reply {effect.reply} is kept before its record is stored")
                if effect.anew:
                    effect = replace(self.replies[effect.message], reply=effect.reply)
                    self.replies[effect.message] = effect
                kept = self.replies.setdefault(effect.message, effect)
                if kept.reply != effect.reply:
                    raise AssertionError(f"a second reply to message {effect.message.hex()}")
            case KeepProof() | KeepAcks() | KeepVote() | KeepPlace() | KeepWatched() | KeepWhole():
                self._keep_beside(effect)
            case KeepManifest():
                self.blocks.update(effect.blocks)
                self.manifest = effect.cid
            case AskOwner():
                self.asked.add(effect.app)

    def _write_head(self, effect: WriteHead) -> None:
        if effect.head not in self.blocks:
            raise AssertionError(f"head {effect.head} is written before its record is stored")
        if effect.head not in effect.well_signed:
            raise AssertionError(f"head {effect.head} is written, and not that its signature was found right")
        self.well_signed.update(effect.well_signed)
        known = self.heads.get(effect.run)
        if known is None or (known.term, known.height) <= (effect.term, effect.height):  # as a journal does
            self.heads[effect.run] = effect

    def _keep_beside(self, effect: KeepProof | KeepAcks | KeepVote | KeepPlace | KeepWatched | KeepWhole) -> None:
        if isinstance(effect, KeepProof):
            self.put(effect.found.blocks())
            self.proofs.append(effect.found)
        elif isinstance(effect, KeepAcks):
            self.put(effect.blocks)
            self.acks.update((block.cid, block) for block in effect.blocks)
        elif isinstance(effect, KeepVote):
            if (kept := self.votes.get(effect.run)) is not None and kept.term >= effect.term:
                raise AssertionError(f"a vote in term {effect.term} after one in term {kept.term}")
            self.votes[effect.run] = effect
        elif isinstance(effect, KeepWatched):
            self.watched.add(effect.run)
        elif isinstance(effect, KeepWhole):
            self.complete.add(effect.run)

    def whole(self, root: CID, needless: Container[CID] = ()) -> bool:
        """Whether ``root`` and all it links to are here, but for what is ``needless``."""
        return all(cid in self.blocks or cid in needless for cid in linked(root, self))


def linked(root: CID, source: Disk) -> Iterator[CID]:
    """``root`` and all that it links to. A block that is not here is named, but its links are unknown."""
    seen = {root}
    ahead = [root]
    while ahead:
        cid = ahead.pop()
        yield cid
        if cid.is_raw or cid not in source.blocks:
            continue
        for link in _links(decode_cbor(source.blocks[cid])):
            if link not in seen:
                seen.add(link)
                ahead.append(link)


def _links(value: object) -> Iterator[CID]:
    if isinstance(value, CID):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from _links(item)
    elif isinstance(value, list):
        for item in value:
            yield from _links(item)


def chain_of(head: CID, source: Disk) -> list[Record]:
    """The records from the run record to ``head``."""
    records: list[Record] = []
    link: CID | None = head
    while link is not None:
        record = parse_record(Block(link, source.get(link)))
        if not isinstance(record.body, Chained):
            raise AssertionError(f"{link} is in a chain and no chained record")
        records.append(record)
        link = record.body.prev
    return records[::-1]

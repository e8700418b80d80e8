"""Which blocks belong to a record: those that verifying it needs, and the contents it names."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from protocol.blocks import CID, Block, BlockError, BlockSource, MissingBlock, checked_block
from protocol.records import (
    Body,
    Chained,
    Close,
    Collect,
    Dispatch,
    Federation,
    GridError,
    Group,
    Record,
    Reply,
    Roster,
    Run,
    TakenReply,
    answers,
    parse_record,
    typed_items,
)
from protocol.trees import Listing

MAX_BLOCKS: Final = 200_000
"""Blocks that one record may need: a collect of 65,536 replies, its listings and a long manifest chain fit."""


class ClosureTooLarge(BlockError):
    """A record that needs more than `MAX_BLOCKS` blocks."""


def missing(block: Block | CID, source: BlockSource, trusted: CID | None = None) -> list[CID]:
    """The blocks that ``source`` lacks and that are known to be needed to verify the record in ``block``.

    Fetch them and ask again, until there are none: what a block links is known only once it is here. ``trusted`` is a
    manifest that is checked already; the walk back to version 1 stops there. Contents, the app and the seed are not
    needed to verify: see `contents`. Links are hashes, so no chain of them can return to where it began.

    Raises:
        ClosureTooLarge: where it needs more than `MAX_BLOCKS`.
        protocol.blocks.BlockError: where a block is malformed.
    """
    if isinstance(block, Block):
        known, start = {block.cid: block.data}, block.cid
    else:
        known, start = {}, block
    walk = _Walk(source, known, trusted)
    walk.record(start)
    return walk.lacking


def contents(record: Record, source: BlockSource) -> Iterator[CID]:
    """The roots of what ``record`` links besides records, in order; one may come several times.

    They are a run's app and seed, a dispatch's contents, those of the replies that a collect takes, a close's model.

    Raises:
        protocol.blocks.BlockError: where a block of the record's closure is missing or malformed.
    """
    match record.body:
        case Run(app=app, seed=seed):
            yield from (app, seed)
        case Dispatch(groups=groups):
            yield from (group.content for group in typed_items(groups, Group, source))
        case Reply(content=CID() as content) | Close(model=CID() as content):
            yield content
        case Collect() as collect:
            for answer in answers(collect, source):
                if isinstance(answer, TakenReply):
                    reply = checked_block(answer.reply, source.get(answer.reply))
                    yield from contents(parse_record(reply), source)
        case _:
            return


class _Walk:
    """One walk over the blocks that a record needs; those that are not here end in ``lacking``."""

    def __init__(self, source: BlockSource, known: dict[CID, bytes], trusted: CID | None) -> None:
        self.source = source
        self.known = known
        self.seen = {trusted}
        self.lacking: list[CID] = []

    def record(self, cid: CID) -> None:
        """Visit the record in block ``cid`` and what it needs; a manifest's predecessors one after the other."""
        link: CID | None = cid
        while link is not None and link not in self.seen:
            try:
                body = parse_record(checked_block(link, self.get(link))).body
            except MissingBlock:
                return
            for listing in _listings(body):
                self.tree(listing)
            for needed in self.records(body):
                self.record(needed)
            link = body.prev if isinstance(body, Federation) else None

    def records(self, body: Body) -> Iterable[CID]:
        """The records that ``body`` needs, manifests aside from their own chain."""
        match body:
            case Run(manifest=manifest) | Roster(manifest=manifest):
                yield manifest
            case Collect() as collect:
                try:
                    yield from filter(None, map(_reply_link, answers(collect, self)))
                except MissingBlock:
                    return  # `tree` has listed it
            case _:
                return

    def tree(self, listing: Listing) -> None:
        """Visit the blocks of a listing's tree."""
        try:
            blocks = list(listing.blocks(self))
        except MissingBlock:
            return
        for leaf in blocks[1:]:
            try:
                self.get(leaf)
            except MissingBlock:
                continue

    def get(self, cid: CID) -> bytes:
        """A block that is needed; noted in ``lacking``, once, where it is not here."""
        if cid in self.known:
            return self.known[cid]
        first = cid not in self.seen
        self.seen.add(cid)
        if len(self.seen) > MAX_BLOCKS:
            raise ClosureTooLarge(f"the record needs more than {MAX_BLOCKS} blocks")
        try:
            return self.source.get(cid)
        except MissingBlock:
            if first:
                self.lacking.append(cid)
            raise


def _reply_link(answer: TakenReply | GridError) -> CID | None:
    return answer.reply if isinstance(answer, TakenReply) else answer.refused


def _listings(body: Body) -> Iterator[Listing]:
    if isinstance(body, Chained):
        yield body.looks
    match body:
        case Dispatch(groups=groups):
            yield groups
        case Collect(answers=taken, unanswered=unanswered):
            yield from (taken, unanswered)
        case Federation(members=members):
            yield members
        case _:
            return

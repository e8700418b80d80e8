"""Which blocks belong to a record: those that verifying it needs, and the contents it names."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import fields, is_dataclass
from typing import Any, Final

from protocol.blocks.cid import CID, Block, BlockError, BlockSource, MissingBlock
from protocol.blocks.listing import Listing
from protocol.federation.member_rules import MAX_MEMBERS
from protocol.records.bodies import (
    Body,
    Close,
    Collect,
    Dispatch,
    Federation,
    Group,
    Keys,
    Reply,
    Roster,
    Run,
    TakenReply,
    Takeover,
)
from protocol.records.signed_records import Record, RecordError, answers, checked_record, typed_items

MAX_BLOCKS: Final = 200_000
"""Blocks that one record may need: a collect of 65,536 replies, its listings and a long manifest chain fit."""


class ClosureTooLarge(BlockError):
    """A record that needs more than `MAX_BLOCKS` blocks."""


def missing(
    block: Block | CID,
    source: BlockSource,
    trusted: CID | None = None,
    kind: type[Body] | None = None,
    passed: dict[CID, CID | None] | None = None,
) -> list[CID]:
    """The blocks that verifying the record in ``block`` needs, and that ``source`` is known to lack.

    Fetch them and ask again until there are none: what a block links is known only once the block is here. Contents,
    the app and the seed are not needed to verify: see `contents`. Links are hashes, so they cannot form a circle.

    ``trusted`` is a manifest that is checked already; the walk back to version 1 stops there. ``kind`` is what the
    record has to be, if that is known. The caller keeps ``passed`` between calls: each complete manifest and the one
    before it, so that a long chain of manifests is not read again for each new one.

    Raises:
        ClosureTooLarge: if it needs more than `MAX_BLOCKS`.
        protocol.blocks.cid.BlockError: if a block is malformed, or the record is of another kind.
    """
    if isinstance(block, Block):
        known, start = {block.cid: block.data}, block.cid
    else:
        known, start = {}, block
    walk = _Walk(source, known, trusted, {} if passed is None else passed)
    walk.record(start, kind)
    return walk.lacking


def contents(record: Record, source: BlockSource) -> Iterator[CID]:
    """The roots of what ``record`` links besides records, in order and perhaps repeated.

    They are a run's app, seed and initial model, a dispatch's contents, the contents of replies that a collect takes,
    and a close's model.

    Raises:
        protocol.blocks.cid.BlockError: if a block of the record's closure is missing or malformed.
    """
    match record.body:
        case Run(bundle=bundle, seed=seed, initial_model=model):
            yield from (bundle, seed) if model is None else (bundle, seed, model)
        case Dispatch(groups=groups):
            yield from (group.content for group in typed_items(groups, Group, source))
        case Reply(content=CID() as content) | Close(model=CID() as content):
            yield content
        case Collect() as collect:
            for answer in answers(collect, source):
                if isinstance(answer, TakenReply):
                    reply = checked_record(answer.reply, source).body
                    if isinstance(reply, Reply) and reply.content is not None:
                        yield reply.content
        case _:
            return


class _Walk:
    """One walk over the blocks that a record needs. Those that are not here end in ``lacking``."""

    def __init__(
        self, source: BlockSource, known: dict[CID, bytes], trusted: CID | None, passed: dict[CID, CID | None]
    ) -> None:
        self.source = source
        self.known = known
        self.seen = {trusted}
        self.passed = passed
        self.lacking: list[CID] = []

    def record(self, cid: CID, kind: type[Body] | None) -> None:
        """Visit the record in block ``cid``, which has to be a ``kind``, and what it needs.

        Only links that the record's type has are followed. So records that somebody nested deeply in another way end
        here, and the chain refuses them.
        """
        try:
            body = checked_record(cid, self).body
            if kind is not None and not isinstance(body, kind):
                raise RecordError(f"{cid} is a {body.TYPE}, which is not what it was said to be")
            for listing in _listings(body):
                self.tree(listing)
            match body:
                case Run(manifest=manifest, keys=keys) | Roster(manifest=manifest, keys=keys):
                    self.manifests(manifest)
                    if keys is not None:
                        self.keys(keys)
                case Federation(prev=CID() as prev):
                    self.manifests(prev)
                case Collect() as collect:
                    self.replies(collect)
                case Takeover() as takeover:
                    self.takeover(takeover)
                case _:
                    return
        except MissingBlock:
            return  # `get` noted it; what it links is not known yet

    def manifests(self, newest: CID) -> None:
        """Visit a manifest and those before it, back to a trusted one."""
        link: CID | None = newest
        while link is not None and link not in self.seen:
            if link in self.passed:
                link = self.passed[link]
                continue
            body = checked_record(link, self).body
            if not isinstance(body, Federation):
                return
            lacking = len(self.lacking)
            for listing in _listings(body):
                self.tree(listing)
            if len(self.lacking) == lacking:
                self.passed[link] = body.prev
            link = body.prev

    def keys(self, cid: CID) -> None:
        """Visit the keys of an epoch."""
        with suppress(MissingBlock):
            body = checked_record(cid, self).body
            if isinstance(body, Keys):
                for listing in _listings(body):
                    self.tree(listing)

    def replies(self, collect: Collect) -> None:
        """Visit the replies that a collect takes or refuses; they need nothing more."""
        for answer in answers(collect, self):
            link = answer.reply if isinstance(answer, TakenReply) else answer.refused
            if link is not None:
                with suppress(MissingBlock):
                    self.get(link)

    def takeover(self, body: Takeover) -> None:
        """Visit what a takeover shows: its votes, and why it is."""
        self.signed(body.votes)
        self.signed(body.words)
        for link in (body.against, body.warrant):
            if link is not None:
                self.linked(link)

    def signed(self, listing: Listing) -> None:
        """Visit the votes of a takeover, or the words of servers; they need nothing more."""
        for count, vote in enumerate(typed_items(listing, CID, self)):
            if count == MAX_MEMBERS:
                raise RecordError(f"it links more than {MAX_MEMBERS} votes, and no federation has so many members")
            self.linked(vote)

    def linked(self, link: CID) -> None:
        """Visit a record that needs nothing more."""
        with suppress(MissingBlock):
            self.get(link)

    def tree(self, listing: Listing) -> None:
        """Visit the blocks of a listing's tree."""
        with suppress(MissingBlock):
            for block in listing.blocks(self):
                with suppress(MissingBlock):
                    self.get(block)

    def get(self, cid: CID) -> bytes:
        """A needed block. If it is not here, it is noted in ``lacking``, once."""
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


def _listings(value: Any) -> Iterator[Listing]:  # a body, or a dataclass in one
    for field in fields(value):
        each = getattr(value, field.name)
        if isinstance(each, Listing):
            yield each
        elif is_dataclass(each):
            yield from _listings(each)

"""Applying what the owner has said to all runs of a home."""

from __future__ import annotations

import shutil
from dataclasses import dataclass

from peer.home.home import Home
from peer.home.journal import RunHead
from peer.keeping.dropping import Dropping
from protocol.blocks.cid import CID
from protocol.keeping.budget import Disk, excess
from protocol.keeping.home_plan import Keeping


@dataclass(frozen=True, slots=True)
class Applied:
    """What went of one run, or would go."""

    run: CID
    contents: int
    bytes: int


def apply_keeping(home: Home, dropping: Dropping, keeping: Keeping, *, dry_run: bool = False) -> list[Applied]:
    """Drop what does not stay: what the plan lets go, and then, as long as the budget is passed, what may go if room is
    needed, of the run first that changed longest ago. A ``dry_run`` only says what.

    Raises:
        EngineError: if the engine cannot be used.
    """
    dropping.stock.take_all()
    heads = sorted(dropping.journal.heads(), key=lambda head: head.updated)
    going = {head.run: [each.content for each in dropping.may_go(head, keeping, pressed=False)] for head in heads}
    over = excess(keeping.budget, disk_of(home, dropping.journal.contents.used_in_all()))
    over -= dropping.sizes([content for contents in going.values() for content in contents])
    for head in heads:
        over -= _choose_more(head, going[head.run], over, dropping, keeping)
    applied = [
        Applied(head.run, len(going[head.run]), dropping.sizes(going[head.run])) for head in heads if going[head.run]
    ]
    for head in [] if dry_run else heads:
        dropping.drop(head, going[head.run])
    return applied


def _choose_more(head: RunHead, going: list[CID], over: int, dropping: Dropping, keeping: Keeping) -> int:
    """Add what may go of a run if room is needed, up to ``over`` bytes. Returns how many those are."""
    more = 0
    chosen = set(going)
    for each in dropping.may_go(head, keeping, pressed=True) if over > 0 else ():
        if more >= over:
            break
        if each.content not in chosen:
            going.append(each.content)
            more += dropping.sizes([each.content])
    return more


def disk_of(home: Home, used: int, growth: int = 0) -> Disk:
    """The disk of a home whose runs take ``used`` bytes, of which the next exchange may take ``growth`` more."""
    disk = shutil.disk_usage(home.path)
    return Disk(used, disk.free, disk.total, growth)

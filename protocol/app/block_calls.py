"""The messages between an app process that is given no engine and its peer, which gives it blocks: on a socket of their
own, by `protocol.app.pipe` too."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from protocol.blocks.cid import CID


@dataclass(frozen=True, slots=True)
class ReadBlock:
    """A block of the content ``root``, and what comes after it in the content, if that is at hand: up to ``ahead``
    bytes."""

    call: int
    root: CID
    block: CID
    ahead: int


@dataclass(frozen=True, slots=True)
class MakeLocal:
    """Make the content ``root`` local and pin it (`peer.engine.interface.Engine.fetch`)."""

    call: int
    root: CID
    timeout: float
    limit: int


@dataclass(frozen=True, slots=True)
class SentBlock:
    """A block of a content, which the app process stores or reads."""

    cid: CID
    data: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class StoreBlocks:
    """Store some blocks of the content ``root``, its last ones if it ``ends``: then it is whole, and is pinned."""

    call: int
    root: CID
    blocks: tuple[SentBlock, ...]
    ends: bool


@dataclass(frozen=True, slots=True)
class CallDone:
    """Answers `MakeLocal` and `StoreBlocks`."""

    call: int


@dataclass(frozen=True, slots=True)
class BlocksRead:
    """Answers `ReadBlock`."""

    call: int
    data: bytes = field(repr=False)
    ahead: tuple[SentBlock, ...] = ()


class Obstacle(StrEnum):
    """What kept a `BlockCall` from being done."""

    ENGINE = "engine"
    """The engine cannot do it now."""
    TOO_LARGE = "too-large"
    """The content is over the limit."""
    STILL_COMING = "still-coming"
    """The content is not here yet, and more of it came; its CID is told as the reason."""
    BLOCK = "block"
    """A block is damaged."""
    MISSING = "missing"
    """A block is not here; its CID is told as the reason."""
    NOT_NAMED = "not-named"
    """The peer has not named that content to its app process."""


@dataclass(frozen=True, slots=True)
class CallFailed:
    """Answers any `BlockCall` that cannot be done."""

    call: int
    obstacle: Obstacle
    why: str
    fix: str


BlockCall = ReadBlock | MakeLocal | StoreBlocks
BlockAnswer = BlocksRead | CallDone | CallFailed

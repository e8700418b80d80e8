"""The chain of one run, checked record by record (design section 7). The rules are in `protocol.rules`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from protocol.blocks import CID, Block, BlockSource
from protocol.manifest import Manifest
from protocol.records import GridError, Record


@dataclass(frozen=True, slots=True)
class OpenMessage:
    """A dispatched message that no collect has answered yet."""

    id: bytes
    node: int
    dispatch: CID
    content: CID
    type: str
    """Empty where the dispatch's private part is encrypted; so is ``group``."""
    group: str
    ttl: int | float
    created: float
    """The dispatch's time, in seconds since 1970."""


@dataclass(frozen=True, slots=True)
class AnsweredMessage:
    """What a collect says to one message: the client's ``reply``, or the Grid's ``error``."""

    message: OpenMessage
    reply: Record | None
    """Its body is a `protocol.records.Reply`."""
    error: GridError | None
    reason: str
    """The error's reason, where it is readable."""


@dataclass(frozen=True, slots=True)
class Step:
    """What one appended record did."""

    record: Record
    opened: tuple[OpenMessage, ...] = ()
    answered: tuple[AnsweredMessage, ...] = ()
    manifest_changed: bool = False


class Chain:
    """The trusted state of one run. Its memory does not grow with the length of the chain.

    ``head is None`` until the run record is appended; ``run``, ``manifest`` and ``by`` may be read after that only.
    """

    run: CID
    head: CID | None
    height: int
    """Of the head; -1 before the run record."""
    term: int
    by: bytes
    """The leader's member id."""
    manifest: Manifest
    """In force after the head."""
    closed: bool

    def __init__(self, federation: CID) -> None:
        """An empty chain of a run in ``federation`` (the CID of its manifest's version 1)."""
        raise NotImplementedError

    @property
    def open(self) -> Mapping[bytes, OpenMessage]:
        """The open messages by id, in the order they were sent."""
        raise NotImplementedError

    def ordinal(self, node: int) -> int:
        """How many messages the run has sent to ``node``: the ordinal of the next one (`protocol.messages`)."""
        raise NotImplementedError

    @property
    def index_due(self) -> bool:
        """Whether the next record has to be an `Index`."""
        raise NotImplementedError

    @property
    def recent(self) -> tuple[CID, ...]:
        """The records since the last index (included), oldest first: what a due `Index` links."""
        raise NotImplementedError

    def append(self, record: Record, source: BlockSource) -> Step:
        """Check ``record`` by every rule and make it the head. Nothing changes where it raises.

        Raises:
            protocol.rules.BrokenRule: which rule it breaks.
            protocol.blocks.MissingBlock: where ``source`` lacks a block that is needed (`protocol.closure.missing`).
        """
        raise NotImplementedError

    def append_block(self, block: Block, source: BlockSource) -> Step:
        """`append` the record in ``block``, checking its hash and encoding too."""
        raise NotImplementedError


def check_reply(reply: Record, message: OpenMessage, manifest: Manifest, run: CID) -> None:
    """Judge a reply as the collect that takes it will be judged; ``manifest`` is the one in force there.

    Raises:
        protocol.rules.BrokenRule: which rule it breaks.
    """
    raise NotImplementedError

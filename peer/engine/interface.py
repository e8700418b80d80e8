"""The one interface both engines have.

It is synchronous and safe to call from several threads: the app process calls it from Flower's threads, the peer
process from a thread pool. Whatever it says it has stored is on disk.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from protocol.blocks.cid import CID, Block


class EngineError(Exception):
    """The engine cannot do what it was asked. ``str`` says what and why, ``fix`` the command that fixes it."""

    def __init__(self, message: str, fix: str = "") -> None:
        super().__init__(message)
        self.fix = fix


class EngineUnavailable(EngineError):
    """The engine does not answer: a node that is down, a directory that is gone."""


class WrongAddress(EngineError):
    """What names the engine is no address of one."""


class PublishRefused(EngineError):
    """The engine lets nothing of its own be heard, whatever it is."""


class AskingOff(EngineError):
    """Others cannot be asked through this engine."""


class Unanswered(EngineError):
    """Another engine does not answer."""


class StorageFull(EngineError):
    """The disk is full. Nothing half-written is left behind."""


class TooLarge(EngineError):
    """A content has more bytes than are allowed."""


_BRING: Final = "start a peer whose engine has it; or bring a file of the run here: peer import FILE"


class Unreachable(EngineError):
    """Nobody within reach has the block. Carries its ``cid``."""

    def __init__(self, cid: CID, message: str = "", fix: str = _BRING) -> None:
        super().__init__(message or f"nobody within reach has {cid}", fix)
        self.cid = cid


@dataclass(frozen=True, slots=True)
class EngineStatus:
    """What ``peer doctor`` shows."""

    kind: str
    """``local`` or ``kubo``."""
    identity: str
    """The engine's own name: a libp2p peer id, or the directory."""
    version: str
    addresses: tuple[str, ...]
    peers: int
    """How many other engines it is connected to now."""
    pubsub: bool
    bytes_stored: int
    bytes_sent: int
    """Since the engine started; what went out to other engines."""


class Subscription(Protocol):
    """A running subscription."""

    def close(self) -> None:
        """Stop; no call to the receiver begins after this returns."""


class Streams(Protocol):
    """Asks other engines, and answers them, where announcements may not reach them. Safe from several threads."""

    def listen(self, name: str, answer: Callable[[str, bytes], bytes | None]) -> Subscription:
        """Answer what is asked under ``name``: ``answer`` is called, in threads, with the asking engine's name, which
        may be false, and its question. None: it is hung up on.

        Raises:
            AskingOff: if the engine does not do it, with what fixes that.
        """

    def ask(self, node: str, name: str, question: bytes) -> bytes:
        """What the engine called ``node`` answers under ``name``.

        Raises:
            Unanswered: if it does not.
            EngineError: if our own engine cannot be used.
        """

    def nodes(self) -> tuple[str, ...]:
        """The names of the engines that ours is connected to."""

    def heard_ago(self, node: str) -> float | None:
        """Seconds since an announcement of that engine came through a subscription of ours; None if none did."""

    def hear(self, node: str) -> bool:
        """Take what that engine announces, whatever it announced before; whether that is ours to decide."""

    def how_to_hear(self, node: str) -> str:
        """The command that has an engine take what ``node`` announces."""

    @property
    def own_name(self) -> str:
        """Our engine's name."""


class Engine(Protocol):
    """Stores blocks and carries announcements."""

    @property
    def address(self) -> str:
        """What `peer.engine.open_engine` takes for another connection to this engine: ``local:DIR`` or a URL. It may
        have credentials in it: `peer.engine.without_credentials` is for people."""

    @property
    def kind(self) -> str:
        """``local`` or ``kubo``."""

    @property
    def version(self) -> str:
        """Of the node, or of the directory's layout."""

    def put(self, blocks: Iterable[Block], *, pin: Sequence[CID] = ()) -> None:
        """Store blocks durably, all on disk at return; then pin those of ``pin`` alone (not what they link to).

        An engine need not look whether its copy of a block is sound: a damaged one may stay, but for `drop_damaged`."""

    def put_content(self, root: CID, blocks: Iterable[Block]) -> None:
        """Store a whole content (its manifest block ``root`` and its chunks; those already here may be left out), and
        pin it recursively. Durable at return."""

    def has(self, cid: CID) -> bool:
        """Whether the block is stored here, without asking the network."""

    def get(self, cid: CID, *, timeout: float = 30.0) -> bytes:
        """One block, checked against its CID, fetched from other engines if need be.

        Raises:
            Unreachable: if nobody gave it within ``timeout`` seconds.
            protocol.blocks.cid.BlockError: if the copy here is damaged. It is left as it is: `drop_damaged`.
        """

    def drop_damaged(self, cid: CID) -> None:
        """Have a damaged copy of a block forgotten, if there is one here, so that `get` asks other engines for the
        block. A copy that all engines share stays, until somebody who has the block puts it anew."""

    def fetch(self, root: CID, *, timeout: float, limit: int) -> None:
        """Make ``root`` and all it links to local, and pin it recursively.

        Raises:
            Unreachable: if some of it did not come within ``timeout`` seconds.
            TooLarge: if it has more than ``limit`` bytes; it is not pinned.
        """

    def read_content(self, root: CID) -> Iterable[Block]:
        """Every block of a content that `fetch` made local, checked, one at a time: manifest first, then its chunks."""

    def pin(self, cid: CID, *, recursive: bool) -> None:
        """Keep a block (and all it links to) from garbage collection."""

    def unpin(self, cid: CID) -> None:
        """Undo `pin`; harmless if it is not pinned."""

    def publish(self, topic: str, data: bytes) -> None:
        """Send one announcement, at most 1 MiB. Returning says nothing of its arrival."""

    def subscribe(self, topic: str, receive: Callable[[bytes], None]) -> Subscription:
        """Call ``receive`` from a thread of the engine's with each announcement, one's own perhaps included.

        It re-subscribes by itself after the engine was away.
        """

    @property
    def streams(self) -> Streams | None:
        """How others are asked; None if announcements need no such help."""

    def connect(self, addresses: Sequence[str]) -> None:
        """Connect to other engines; addresses it cannot use are passed over, harmless when already connected."""

    def addresses(self) -> tuple[str, ...]:
        """Where other engines reach this one."""

    def status(self) -> EngineStatus:
        """What it is and how it is.

        Raises:
            EngineUnavailable: if it does not answer.
        """

    def check(self) -> None:
        """That it answers, seen by the cheapest of calls.

        Raises:
            EngineUnavailable: if it does not.
        """

    def hang_up(self) -> None:
        """End every call that waits with `EngineUnavailable`, and make no other: the owner wants to stop, and it may
        hang."""

    def close(self) -> None:
        """Stop subscriptions and free connections. A managed node keeps running; its own handle stops it."""

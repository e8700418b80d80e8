"""The interface of every engine.

It is synchronous and safe to call from several threads: the app process calls it from Flower's threads, the peer
process from a thread pool. What an engine says it has stored is on disk.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

from protocol.blocks.cid import CID, Block

if TYPE_CHECKING:  # it imports slowly, and `peer --version` does not need it
    from protocol.wire.calling_back import Call


class EngineError(Exception):
    """The engine cannot do what it was asked. ``str`` says what and why, ``fix`` the command that fixes it."""

    def __init__(self, message: str, fix: str = "") -> None:
        super().__init__(message)
        self.fix = fix


class EngineUnavailable(EngineError):
    """The engine does not answer: a node that is down, a directory that is gone."""


class WrongAddress(EngineError):
    """The text is not the address of an engine."""


class PublishRefused(EngineError):
    """The engine refuses every announcement of its own."""


class AskingOff(EngineError):
    """This engine cannot ask others."""


class Unanswered(EngineError):
    """Another engine does not answer."""


class StorageFull(EngineError):
    """The disk is full. Nothing half-written is left behind."""


class SharedEngine(EngineError):
    """Another home uses the same node, and the node does not tell whose pin is whose."""


class TooLarge(EngineError):
    """A content has more bytes than it may."""


_BRING: Final = "start a peer whose engine has it, or bring a file of the run here: peer import FILE"


class Unreachable(EngineError):
    """Nobody within reach has the block. Carries its ``cid``."""

    def __init__(self, cid: CID, message: str = "", fix: str = _BRING) -> None:
        super().__init__(message or f"nobody within reach has {cid}", fix)
        self.cid = cid


class StillComing(Unreachable):
    """It is not whole yet, but more of it came, or may be on its way. What came stays, and whoever asks again goes on
    from there."""


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
    """What went out to other engines since the engine started."""


class Subscription(Protocol):
    """A running subscription."""

    def close(self) -> None:
        """Stop. No call to the receiver begins after this returns."""


class OtherEngines(Protocol):
    """Other engines, which ours dials and asks. Safe from several threads."""

    @property
    def own_name(self) -> str:
        """Our engine's name."""

    def ask(self, node: str, name: str, question: bytes) -> bytes:
        """What the engine ``node`` answers under ``name``.

        Raises:
            Unanswered: if it does not answer.
            EngineError: if our own engine cannot be used.
        """

    def nodes(self) -> tuple[str, ...]:
        """The names of the engines that ours is connected to."""

    def dial(self, address: str) -> Call:
        """What comes of connecting to another engine at ``address``. If it is connected already, nothing is tried.

        Raises:
            EngineError: if our own engine cannot be used.
        """

    def seen_at(self, node: str) -> str | None:
        """The address from which, or at which, the engine ``node`` is connected to ours."""


class Streams(OtherEngines, Protocol):
    """Asks other engines, and answers them, because announcements may not arrive. Safe from several threads."""

    def listen(self, name: str, answer: Callable[[str, bytes], bytes | None]) -> Subscription:
        """Answer what is asked under ``name``. ``answer`` is called, in threads, with the asking engine's name, which
        may be false, and its question. If it returns None, we hang up.

        Raises:
            AskingOff: if the engine cannot do that; it says what fixes it.
        """

    def heard_ago(self, node: str) -> float | None:
        """Seconds since a subscription of ours heard that engine; None if none did."""

    def hear(self, node: str) -> bool:
        """Hear that engine again, whatever it announced before. Returns False if that is not ours to decide."""

    def how_to_hear(self, node: str) -> str:
        """The command that makes an engine hear ``node`` again."""


class Engine(Protocol):
    """Stores blocks and carries announcements."""

    @property
    def address(self) -> str:
        """What `peer.engine.open_engine` takes for another connection to this engine: ``local:DIR`` or a URL. It may
        hold credentials: show people what `peer.engine.without_credentials` leaves."""

    @property
    def kind(self) -> str:
        """``local`` or ``kubo``."""

    @property
    def version(self) -> str:
        """The version of the node, or of the directory's layout."""

    def put(self, blocks: Iterable[Block], *, pin: Sequence[CID] = ()) -> None:
        """Store blocks, all on disk at return. Then pin those of ``pin``, without what they link to.

        An engine need not check its own copy of a block: a damaged one may stay until `drop_damaged`."""

    def put_content(self, root: CID, blocks: Iterable[Block]) -> None:
        """Store a whole content, on disk at return, and pin it recursively. It is the manifest block ``root`` and its
        chunks; blocks that are here already may be left out.

        Raises:
            Unreachable: if a block that was left out is not here, as it may have been dropped. It is not pinned then.
        """

    def drop(self, contents: Sequence[CID], blocks: Sequence[CID] = (), *, keep: Sequence[CID] = ()) -> None:
        """Undo what pinned these ``contents`` recursively, and these single ``blocks``; then delete for good whatever
        of them no other pin leads to, whoever set that. What is not here, or not pinned, does no harm. Those of
        ``keep``, which are here, stay at each moment, pinned by themselves.

        Raises:
            SharedEngine: if another home uses this node, whose pins cannot be told from ours.
        """

    def keeps(self, root: CID) -> bool:
        """Whether this home has pinned ``root``, a content or a whole run, recursively."""

    def sizes(self, cids: Sequence[CID]) -> dict[CID, int]:
        """The bytes of those of these blocks that are here. Does not ask the network."""

    def has(self, cid: CID) -> bool:
        """Whether the block is stored here. Does not ask the network."""

    def get_here(self, cid: CID) -> bytes:
        """One block that is stored here, checked against its CID. Does not ask the network.

        Raises:
            protocol.blocks.cid.BlockError: if it is not here (`MissingBlock`), or the copy here is damaged.
        """

    def get(self, cid: CID, *, timeout: float = 30.0) -> bytes:
        """One block, checked against its CID, fetched from other engines if need be.

        Raises:
            Unreachable: if nobody gave it within ``timeout`` seconds.
            protocol.blocks.cid.BlockError: if the copy here is damaged. It stays until `drop_damaged`.
        """

    def drop_damaged(self, cid: CID) -> None:
        """Forget the copy of a block if it is damaged, so that `get` asks other engines for the block. A copy that all
        engines share stays, until somebody who has the block puts it again."""

    def fetch(self, root: CID, *, timeout: float, limit: int) -> None:
        """Make ``root`` and all that it links to local, and pin it recursively.

        Raises:
            Unreachable: if some of it did not come within ``timeout`` seconds.
            StillComing: if that is so, but more of it came than before, or may be on its way.
            TooLarge: if it has more than ``limit`` bytes. It is not pinned then.
            protocol.blocks.cid.BlockError: if what is here of it, and links to others, is damaged or malformed.
        """

    def read_content(self, root: CID) -> Iterable[Block]:
        """Every block of a content that `fetch` made local, checked, one at a time: the manifest, then its chunks."""

    def pin(self, cid: CID, *, recursive: bool) -> None:
        """Keep a block, and if ``recursive`` all that it links to, from garbage collection."""

    def unpin(self, cid: CID) -> None:
        """Undo `pin`. Harmless if the block is not pinned."""

    def publish(self, topic: str, data: bytes) -> None:
        """Send one announcement of 1 MiB at most. It may be lost on its way."""

    def subscribe(self, topic: str, receive: Callable[[bytes], None]) -> Subscription:
        """Call ``receive`` from a thread of the engine's with each announcement, perhaps also with our own.

        It subscribes again by itself after the engine was away.
        """

    @property
    def streams(self) -> Streams | None:
        """How to ask other engines; None if announcements need no such help."""

    def connect(self, addresses: Sequence[str]) -> None:
        """Connect to other engines. Addresses that cannot be used are passed over. Harmless if already connected."""

    def addresses(self) -> tuple[str, ...]:
        """Where other engines reach this one."""

    def status(self) -> EngineStatus:
        """What the engine is, and how it is.

        Raises:
            EngineUnavailable: if it does not answer.
        """

    def check(self) -> None:
        """Check by the cheapest of calls that the engine answers.

        Raises:
            EngineUnavailable: if it does not.
        """

    def hang_up(self) -> None:
        """End every call that waits with `EngineUnavailable`, and begin no other: the owner wants to stop, and the
        engine may hang."""

    def close(self) -> None:
        """Stop subscriptions and free connections. A managed node keeps running: its `KuboNode` stops it."""

"""The ``local`` engine: one directory that the peers of one machine share.

Pins are files ``homes/<owner>/<CID>.<recursive or direct>``, so that what one home drops stays as long as another one
pins it. They are second names of the blocks' files, and nobody reads what is in them: to make a file for each would
cost more than all else that keeps a record. Whoever opens the directory without saying for which home pins in
``pins/``, as all did once: nobody undoes these but whoever sets them in the same way. Nothing is deleted but by
`LocalEngine.drop`, which holds ``pins.lock`` alone; whoever stores something holds it beside others until that is
pinned.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Final

from peer.base import posix
from peer.base.durable_files import sync_folder
from peer.engine.disk_errors import translated
from peer.engine.interface import EngineStatus, EngineUnavailable, TooLarge, Unreachable
from peer.engine.linked_blocks import links_of, reached, walk
from peer.engine.local.announcement_log import AnnouncementLog, LogSubscription
from peer.engine.local.block_files import BlockFiles
from protocol.blocks.cid import CID, Block, BlockError, MalformedCid, MissingBlock

_LOOK_AGAIN: Final = 0.004
"""Seconds between two looks for a block that another process is still to store. Announced blocks are here already."""

_SMALL: Final = 4096
_FEW: Final = 65_536
"""A content may have so few chunks with fewer than `_SMALL` bytes. That bounds the CIDs in memory that are still to be
fetched."""

_KINDS: Final = ("recursive", "direct")
"""How something may be pinned."""

_LAYOUT: Final = "1"
"""The version of the directory's layout."""


class LocalEngine:
    """Blocks and announcements in one directory. Each process opens its own."""

    def __init__(self, directory: Path, owner: str = "") -> None:
        """``owner`` is the home that pins, as a name for a folder; empty if none does."""
        self._directory = directory.absolute()
        self._owner = owner
        self._files = BlockFiles(self._directory)
        self._announcements = AnnouncementLog(self._directory)
        self._subscriptions: list[LogSubscription] = []
        self._homes = self._directory / "homes"
        self._unowned = self._directory / "pins"
        self._pins = self._homes / owner if owner else self._unowned
        self._bytes_out = 0
        self._hung_up = threading.Event()
        with translated(self._directory):
            for folder in (self._unowned, self._homes, self._pins):
                folder.mkdir(exist_ok=True)
            sync_folder(self._directory)

    @property
    def address(self) -> str:
        return f"local+{self._owner}:{self._directory}" if self._owner else f"local:{self._directory}"

    @property
    def kind(self) -> str:
        return "local"

    @property
    def version(self) -> str:
        return _LAYOUT

    def put(self, blocks: Iterable[Block], *, pin: Sequence[CID] = ()) -> None:
        with self._beside_others():
            self._bytes_out += self._files.put(blocks, lambda: self._named_pins(pin, "direct"))

    def put_content(self, root: CID, blocks: Iterable[Block]) -> None:
        came: dict[CID, list[CID]] = {}

        def noted() -> Iterator[Block]:
            for block in blocks:
                came[block.cid] = _links_in(block)
                yield block

        def pinned() -> Sequence[Path]:
            self._check_whole(cid for cid in self._reach(root, came) if cid not in came)
            return self._named_pins([root], "recursive")

        with self._beside_others():
            self._bytes_out += self._files.put(noted(), pinned)

    def drop(self, contents: Sequence[CID], blocks: Sequence[CID] = (), *, keep: Sequence[CID] = ()) -> None:
        with self._locked(posix.lock):
            self._pin(keep, "direct")
            for cid in (*contents, *blocks):
                self._unpin(cid, ("recursive",) if cid in keep else _KINDS)
            sync_folder(self._pins)
            unneeded = dict.fromkeys((*(cid for root in contents for cid in self._reach(root)), *blocks))
            for needed in self._pinned():
                if not unneeded:
                    return
                unneeded.pop(needed, None)
            self._files.remove(reversed(unneeded))  # what links others goes after them, so a crash loses no way to them

    def keeps(self, root: CID) -> bool:
        with translated(self._pins):
            return (self._pins / f"{root}.recursive").exists()

    def sizes(self, cids: Sequence[CID]) -> dict[CID, int]:
        found = {cid: self._files.size(cid) for cid in cids}
        return {cid: size for cid, size in found.items() if size is not None}

    def has(self, cid: CID) -> bool:
        return self._files.size(cid) is not None

    def get_here(self, cid: CID) -> bytes:
        return self._files.read(cid).data

    def get(self, cid: CID, *, timeout: float = 30.0) -> bytes:
        deadline = time.monotonic() + timeout
        while True:  # most blocks are here, so read first and look later
            try:
                return self._files.read(cid).data
            except MissingBlock:
                self._await(cid, deadline)

    def drop_damaged(self, cid: CID) -> None:
        """Nothing to do: nobody has another copy."""

    def fetch(self, root: CID, *, timeout: float, limit: int) -> None:
        deadline = time.monotonic() + timeout
        while True:
            here = self._awaited(root, deadline, limit)
            with self._beside_others(), contextlib.suppress(Unreachable):  # dropped meanwhile, by another home
                self._check_whole(here)
                self._pin([root], "recursive")
                return

    def _awaited(self, root: CID, deadline: float, limit: int) -> set[CID]:
        """All blocks of a content, once they are here."""
        seen = {root}
        pending = [root]
        total = 0
        while pending:
            cid = pending.pop()
            total += self._await(cid, deadline)
            if total > limit:
                raise TooLarge(f"{root} is larger than the {limit} bytes allowed")
            if not cid.is_raw:  # a chunk's size is enough: read_content checks its bytes
                fresh = set(links_of(self._files.read(cid))) - seen
                seen |= fresh
                pending.extend(fresh)
            if total + len(pending) * _SMALL > limit + _SMALL * _FEW:
                raise TooLarge(f"{root} links more blocks than {limit} bytes are worth")
        return seen

    def read_content(self, root: CID) -> Iterable[Block]:
        try:
            yield from walk(root, self._files.read)
        except MissingBlock as error:
            raise Unreachable(error.cid, f"{root} is not whole: {error.cid} is not in {self._directory}") from error

    def pin(self, cid: CID, *, recursive: bool) -> None:
        self._pin([cid], "recursive" if recursive else "direct")

    def _pin(self, cids: Sequence[CID], kind: str) -> None:
        with translated(self._pins):
            for folder in self._named_pins(cids, kind):
                sync_folder(folder)

    def _named_pins(self, cids: Sequence[CID], kind: str) -> Sequence[Path]:
        """Pin, without a sync. Returns the folders that are to be synced."""
        for cid in cids:
            self._files.name_again(cid, self._pins / f"{cid}.{kind}")
        return (self._pins,) if cids else ()

    def unpin(self, cid: CID) -> None:
        with translated(self._pins):
            self._unpin(cid)
            sync_folder(self._pins)

    def _unpin(self, cid: CID, kinds: Sequence[str] = _KINDS) -> None:
        for kind in kinds:
            (self._pins / f"{cid}.{kind}").unlink(missing_ok=True)

    def _pinned(self) -> Iterator[CID]:
        """Every block that somebody's pin leads to, some more than once."""
        looked_at: set[CID] = set()
        for folder in (self._unowned, *sorted(self._homes.iterdir())):
            for entry in os.scandir(folder):
                text, _, kind = entry.name.rpartition(".")
                with contextlib.suppress(MalformedCid):  # no pin of ours
                    cid = CID.parse(text)
                    if kind == "direct":
                        yield cid
                    elif cid not in looked_at:
                        looked_at.add(cid)
                        yield from self._reach(cid)

    def _reach(self, root: CID, known: Mapping[CID, Iterable[CID]] = MappingProxyType({})) -> list[CID]:
        """``root`` and what it links to, as far as what links it is here. What some link to is ``known``."""

        def links(cid: CID) -> Iterable[CID]:
            if cid in known:
                return known[cid]
            try:
                return () if cid.is_raw else _links_in(self._files.read(cid))
            except BlockError:  # missing or damaged
                return ()

        return reached(root, links)

    def _check_whole(self, blocks: Iterable[CID]) -> None:
        for cid in blocks:
            if self._files.size(cid) is None:
                raise Unreachable(cid, f"the block {cid} is not in {self._directory}")

    @contextlib.contextmanager
    def _locked(self, take: Callable[[int], None]) -> Iterator[None]:
        with translated(self._directory):
            descriptor = os.open(self._directory / "pins.lock", os.O_RDWR | os.O_CREAT, 0o644)
            try:
                take(descriptor)
                yield
            finally:
                os.close(descriptor)

    def _beside_others(self) -> contextlib.AbstractContextManager[None]:
        """Nothing is deleted inside."""
        return self._locked(posix.lock_shared)

    def publish(self, topic: str, data: bytes) -> None:
        self._announcements.publish(topic, data)
        self._bytes_out += len(data)

    def subscribe(self, topic: str, receive: Callable[[bytes], None]) -> LogSubscription:
        subscription = self._announcements.subscribe(topic, receive)
        self._subscriptions.append(subscription)
        return subscription

    @property
    def streams(self) -> None:
        """None: the table of announcements loses nothing."""

    def connect(self, addresses: Sequence[str]) -> None:
        """Nothing to do: all that open the directory are connected."""

    def addresses(self) -> tuple[str, ...]:
        return (f"local:{self._directory}",)

    def status(self) -> EngineStatus:
        return EngineStatus(
            kind=self.kind,
            identity=str(self._directory),
            version=_LAYOUT,
            addresses=self.addresses(),
            peers=self._announcements.others(),
            pubsub=True,
            bytes_stored=self._files.total_bytes(),
            bytes_sent=self._bytes_out,
        )

    def check(self) -> None:
        with translated(self._directory):
            self._pins.stat()

    def hang_up(self) -> None:
        """A directory does not hang, but what waits for a block that nobody stores would wait to its time-out."""
        self._hung_up.set()

    def close(self) -> None:
        for subscription in self._subscriptions:
            subscription.close()
        self._announcements.close()
        self._files.close()

    def _await(self, cid: CID, deadline: float) -> int:
        """The size of ``cid`` once it is here."""
        while (size := self._files.size(cid)) is None:
            if time.monotonic() >= deadline:
                raise Unreachable(cid, f"the block {cid} is not in {self._directory}")
            if self._hung_up.wait(_LOOK_AGAIN):
                raise EngineUnavailable(f"nothing is waited for in {self._directory} any more")
        return size


def _links_in(block: Block) -> list[CID]:
    """What a block links to; nothing if it is malformed."""
    try:
        return links_of(block)
    except BlockError:
        return []

"""The ``local`` engine: one directory that the peers of one machine share.

Pins are empty files ``pins/<CID>.<recursive or direct>``. They say what must be kept, though nothing is collected yet.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Final

from peer.engine.interface import EngineStatus, TooLarge, Unreachable
from peer.engine.linked_blocks import links_of, walk
from peer.engine.local.announcement_log import AnnouncementLog, LogSubscription
from peer.engine.local.block_files import BlockFiles, sync_folder, translated
from protocol.blocks.cid import CID, Block, MissingBlock

_LOOK_AGAIN: Final = 0.004
"""Seconds between two looks for a block that another process is still to store. Announced blocks are here already."""

_SMALL: Final = 4096
_FEW: Final = 65_536
"""A content may have so few chunks with fewer than `_SMALL` bytes. That bounds the CIDs in memory that are still to be
fetched."""

_LAYOUT: Final = "1"
"""The version of the directory's layout."""


class LocalEngine:
    """Blocks and announcements in one directory. Each process opens its own."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory.absolute()
        self._files = BlockFiles(self._directory)
        self._announcements = AnnouncementLog(self._directory)
        self._subscriptions: list[LogSubscription] = []
        self._pins = self._directory / "pins"
        self._bytes_out = 0
        with translated(self._directory):
            self._pins.mkdir(exist_ok=True)
            sync_folder(self._directory)

    @property
    def address(self) -> str:
        return f"local:{self._directory}"

    @property
    def kind(self) -> str:
        return "local"

    @property
    def version(self) -> str:
        return _LAYOUT

    def put(self, blocks: Iterable[Block], *, pin: Sequence[CID] = ()) -> None:
        self._bytes_out += self._files.put(blocks)
        self._pin(pin, "direct")

    def put_content(self, root: CID, blocks: Iterable[Block]) -> None:
        self._bytes_out += self._files.put(blocks)
        self.pin(root, recursive=True)

    def has(self, cid: CID) -> bool:
        return self._files.size(cid) is not None

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
        self.pin(root, recursive=True)

    def read_content(self, root: CID) -> Iterable[Block]:
        try:
            yield from walk(root, self._files.read)
        except MissingBlock as error:
            raise Unreachable(error.cid, f"{root} is not whole: {error.cid} is not in {self._directory}") from error

    def pin(self, cid: CID, *, recursive: bool) -> None:
        self._pin([cid], "recursive" if recursive else "direct")

    def _pin(self, cids: Sequence[CID], kind: str) -> None:
        with translated(self._pins):
            for cid in cids:
                (self._pins / f"{cid}.{kind}").touch()
            if cids:
                sync_folder(self._pins)

    def unpin(self, cid: CID) -> None:
        with translated(self._pins):
            for kind in ("recursive", "direct"):
                (self._pins / f"{cid}.{kind}").unlink(missing_ok=True)
            sync_folder(self._pins)

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
        return (self.address,)

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
        """Nothing to do: a directory does not hang."""

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
            time.sleep(_LOOK_AGAIN)
        return size

"""The ``kubo`` engine: a Kubo node, managed or the user's own, through its RPC API."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from peer.engine.interface import EngineError, EngineStatus
from peer.engine.kubo.api import CHECK_SECONDS, KuboApi, KuboRefused, KuboTimeout, PubsubOff
from peer.engine.kubo.contents.content_fetcher import ContentFetcher
from peer.engine.kubo.contents.content_reader import ContentReader
from peer.engine.kubo.contents.content_writer import ContentWriter
from peer.engine.kubo.contents.homes_of_node import HomesOfNode
from peer.engine.kubo.contents.node_blocks import NodeBlocks
from peer.engine.kubo.contents.node_files import NodeFiles
from peer.engine.kubo.contents.node_pins import NodePins
from peer.engine.kubo.contents.pin_settler import PinSettler
from peer.engine.kubo.contents.unfinished_contents import UnfinishedContents
from peer.engine.kubo.contents.waiting_pins import WaitingPins
from peer.engine.kubo.program import INSTALL, OLDEST, numbers_of
from peer.engine.kubo.pubsub import KuboPublisher, KuboSubscription
from peer.engine.kubo.reach import ANYWHERE, Reach
from peer.engine.kubo.streams import KuboStreams
from peer.engine.kubo.web_proxy import dialled
from peer.engine.linked_blocks import reached
from protocol.blocks.cid import CID, Block

_OPEN_SECONDS: Final = 10.0
"""Seconds that a node has to say what it is."""

_DIAL_SECONDS: Final = 10.0
_ROUTES_SECONDS: Final = 30.0
"""Seconds for all addresses of one peer together."""

_DIALS_AT_ONCE: Final = 8


_OTHER_PEER: Final = re.compile(r"peer id mismatch: expected \w+, but remote key matches (\w+)")
"""The error if another peer is at the address (go-libp2p, ``sec.ErrPeerIDMismatch``)."""


class KuboEngine:
    """The node whose RPC API is at ``address``. If it is ``managed``, only this peer uses it. Others are told of it
    what ``reach`` lets them be told. The home ``owner`` uses it, if that is not empty."""

    def __init__(self, address: str, *, managed: bool = False, reach: Reach = ANYWHERE, owner: str = "") -> None:
        self._api = KuboApi(address)
        self._files = None if self._api.socket is None else NodeFiles.beside(self._api.socket)
        self._homes = None if managed or not owner else HomesOfNode(self._api, owner)
        self._reach = reach
        unfinished = None if self._files is None else UnfinishedContents(self._files.repository)
        self._open_files = self._files if self._files is not None and self._files.takes_blocks else None
        """Where chunks may be written."""
        waiting = None if self._open_files is None else WaitingPins(self._open_files.repository)
        if waiting is not None and not waiting.are_kept:  # nobody would set them before something is deleted
            waiting = None
        self._blocks = NodeBlocks(self._api, self._files)
        self._pins = NodePins(self._api, waiting)
        self._settler = PinSettler(self._pins, waiting, self._blocks.has) if managed and waiting is not None else None
        self._writer = ContentWriter(self._api, self._blocks, self._pins, self._open_files, waiting)
        self._reader = ContentReader(self._api, self._blocks)
        self._fetcher = ContentFetcher(self._api, self._blocks, self._pins, unfinished, waiting)
        self._publisher = KuboPublisher(self._api, may_reset=managed)
        self.streams = KuboStreams(self._api, managed=managed)
        self._subscriptions: list[KuboSubscription] = []
        self._found_at: dict[str, str] = {}
        """The peer that answered at an address, if the address names another."""
        try:
            self._version = self._checked_version()
            if self._homes is not None:
                self._homes.enter()
        except EngineError:
            self._api.close()
            raise

    @property
    def address(self) -> str:
        return self._api.address

    @property
    def kind(self) -> str:
        return "kubo"

    @property
    def version(self) -> str:
        return self._version

    def put(self, blocks: Iterable[Block], *, pin: Sequence[CID] = ()) -> None:
        self._writer.put(blocks, pin)
        self._wake_settler()

    def put_content(self, root: CID, blocks: Iterable[Block]) -> None:
        self._writer.put_content(root, blocks)
        self._wake_settler()

    def drop(self, contents: Sequence[CID], blocks: Sequence[CID] = (), *, keep: Sequence[CID] = ()) -> None:
        if self._homes is not None:
            self._homes.refuse_if_shared()
        linked = (cid for root in contents for cid in reached(root, self._blocks.sound_links))
        unneeded = list(dict.fromkeys((*linked, *blocks)))
        with self._pins.exchanged((*contents, *blocks), keep) as waiting:
            needed: set[CID] = set()
            for pin in waiting:
                needed.update(reached(pin.cid, self._blocks.sound_links) if pin.recursive else (pin.cid,))
            # What links others goes after them, so a crash loses no way to them.
            self._blocks.remove([cid for cid in reversed(unneeded) if cid not in needed])
        self._wake_settler()

    def keeps(self, root: CID) -> bool:
        return self._pins.keeps(root)

    def sizes(self, cids: Sequence[CID]) -> dict[CID, int]:
        return self._blocks.sizes(cids)

    def has(self, cid: CID) -> bool:
        return self._blocks.has(cid)

    def get_here(self, cid: CID) -> bytes:
        return self._blocks.get_here(cid)

    def get(self, cid: CID, *, timeout: float = 30.0) -> bytes:
        return self._fetcher.get(cid, timeout=timeout)

    def drop_damaged(self, cid: CID) -> None:
        self._blocks.drop_damaged(cid)

    def fetch(self, root: CID, *, timeout: float, limit: int) -> None:
        self._fetcher.fetch(root, timeout=timeout, limit=limit)
        self._wake_settler()

    def read_content(self, root: CID) -> Iterable[Block]:
        return self._reader.read(root)

    def pin(self, cid: CID, *, recursive: bool) -> None:
        if recursive:
            self._fetcher.pin(cid)
        else:
            self._pins.add([cid])
            self._wake_settler()

    def settle_pins(self) -> None:
        """Set every pin that waits for it (`peer.engine.kubo.contents.waiting_pins`)."""
        if self._settler is not None:
            self._settler.settle()

    def _wake_settler(self) -> None:
        if self._settler is not None:
            self._settler.wake()

    def unpin(self, cid: CID) -> None:
        self._pins.remove(cid)

    def publish(self, topic: str, data: bytes) -> None:
        self._publisher.publish(topic, data)

    def subscribe(self, topic: str, receive: Callable[[bytes], None]) -> KuboSubscription:
        subscription = KuboSubscription(self._api, topic, receive, self.streams.heard)
        self._subscriptions.append(subscription)
        return subscription

    def connect(self, addresses: Sequence[str]) -> None:
        known = {*self._api.peers(), self._api.identity()[0]}
        routes: dict[str, list[str]] = {}
        for address in addresses:
            head, _, named = address.rpartition("/p2p/")
            peer = self._found_at.get(address, named)
            if head and peer not in known:
                routes.setdefault(peer, []).extend(dialled(address))
        with ThreadPoolExecutor(_DIALS_AT_ONCE) as pool:
            list(pool.map(self._dial, routes.values()))

    def addresses(self) -> tuple[str, ...]:
        return self._reach.told(*self._api.identity())

    def status(self) -> EngineStatus:
        with self._api.translated():
            repository = self._api.client.repo.stat(opts={"size-only": True})
            bitswap = self._api.client.bitswap.stat()
        try:
            stored, sent = int(repository["RepoSize"]), int(bitswap["DataSent"])
        except (KeyError, TypeError, ValueError) as error:
            raise self._api.no_kubo() from error
        return EngineStatus(
            kind=self.kind,
            identity=self._api.identity()[0],
            version=self._version,
            addresses=self.addresses(),
            peers=len(self._api.peers()),
            pubsub=self._has_pubsub(),
            bytes_stored=stored if self._open_files is None else self._open_files.total_bytes(),
            bytes_sent=sent,
        )

    def check(self) -> None:
        self._api.call("version", within=CHECK_SECONDS)

    def hang_up(self) -> None:
        self._api.hang_up()

    def close(self) -> None:
        for subscription in self._subscriptions:
            subscription.close()
        if self._settler is not None:
            self._settler.close()
        self._api.hang_up()
        for subscription in self._subscriptions:
            subscription.join()
        self._api.close()
        if self._files is not None:
            self._files.close()

    def _checked_version(self) -> str:
        try:
            version = str(self._api.said(self._api.call("version", within=_OPEN_SECONDS))["Version"])
            numbers = numbers_of(version)
        except (KeyError, TypeError, ValueError) as error:
            raise self._api.no_kubo() from error
        if numbers < OLDEST:
            oldest = ".".join(map(str, OLDEST))
            raise EngineError(
                f"the Kubo node at {self._api.shown} has version {version}, older than {oldest}",
                INSTALL,
            )
        return version

    def _dial(self, routes: list[str]) -> None:
        """Try one peer's addresses until one works, for a short time. If none does, that is no error."""
        until = time.monotonic() + _ROUTES_SECONDS
        for address in routes:
            if time.monotonic() >= until:
                return
            try:
                self._api.call("swarm/connect", address, within=_DIAL_SECONDS)
                return
            except KuboRefused as error:
                found = _OTHER_PEER.search(str(error))
                if found and self._dial_other(address, found[1]):
                    return
            except KuboTimeout:
                continue

    def _dial_other(self, address: str, peer: str) -> bool:
        """Try an address at which another peer answers than the one that it names. Returns whether it worked.

        A node whose home was restored or copied has another id. The address is still good: signatures tell whose words
        are whose, and the swarm key keeps strangers out."""
        self._found_at[address] = peer
        try:
            self._api.call("swarm/connect", f"{address.rpartition('/p2p/')[0]}/p2p/{peer}", within=_DIAL_SECONDS)
        except (KuboRefused, KuboTimeout):
            return False
        return True

    def _has_pubsub(self) -> bool:
        try:
            self._api.call("pubsub/ls")
        except PubsubOff:
            return False
        return True

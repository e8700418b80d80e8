"""The ``kubo`` engine: a Kubo node, managed or the user's own, through its RPC API."""

from __future__ import annotations

import contextlib
import logging
import math
import re
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import chain, islice
from typing import Final, TypeVar

from peer.engine.coming_contents import SEND_SECONDS, Coming, ComingContents
from peer.engine.homes_of_node import HomesOfNode
from peer.engine.interface import EngineError, EngineStatus, StillComing, TooLarge, Unreachable
from peer.engine.kubo.api import KuboApi, KuboRefused, KuboSilent, KuboTimeout, PubsubOff
from peer.engine.kubo.program import INSTALL, OLDEST, numbers_of
from peer.engine.kubo.pubsub import KuboPublisher, KuboSubscription
from peer.engine.kubo.reach import ANYWHERE, Reach
from peer.engine.kubo.streams import KuboStreams
from peer.engine.kubo.web_proxy import dialled
from peer.engine.linked_blocks import complete, links_of, reached, walk
from peer.engine.node_files import NodeFiles
from peer.engine.unfinished_contents import UnfinishedContents
from protocol.blocks.car import CarCutShort, read_car, write_car
from protocol.blocks.cid import CID, Block, BlockError, MissingBlock, checked_block

_T = TypeVar("_T")

_log = logging.getLogger(__name__)

_VERIFY_SECONDS: Final = 600.0
"""Seconds that a node has to check its whole repository."""

_OPEN_SECONDS: Final = 10.0
"""Seconds that a node has to say what it is."""

_DIAL_SECONDS: Final = 10.0
_ROUTES_SECONDS: Final = 30.0
"""Seconds for all addresses of one peer together."""

_DIALS_AT_ONCE: Final = 8
_CHECK_SECONDS: Final = 5.0
"""Seconds that the node has for an answer that costs it nothing."""

_REMOVE_SECONDS: Final = 600.0
"""Seconds that a node has to look whether a pin leads to some blocks: it follows each of its pins."""

_REMOVED_AT_ONCE: Final = 1000
_ASKED_AT_ONCE: Final = 200

_STALL_SECONDS: Final = 30.0
"""Seconds without a new block, or bytes of one, after which a recursive pin is given up."""

_FRAME_SECONDS: Final = 10.0
"""Seconds that a node waits for the next bytes of a content whose first block is here, before it asks again. To ask
again has the others send again what is on its way. Bytes come in frames of 64 KiB at most, and whoever sends ends a
connection over which one takes longer than this (go-yamux, ``ConnectionWriteTimeout``)."""

_SLOW_TRIES: Final = 3
"""How often a block is asked for that others have to themselves. A node may have 4 MiB in its queue (64 frames in each
connection), for which a line that carries a block in time takes five minutes."""

_BITSWAP: Final = "/ipfs/bitswap/1.2.0"
"""The newest version of the protocol, which every node that we work with speaks."""

_OTHER_PEER: Final = re.compile(r"peer id mismatch: expected \w+, but remote key matches (\w+)")
"""The error if another peer is at the address (go-libp2p, ``sec.ErrPeerIDMismatch``)."""

_FEW_BLOCKS: Final = 8
"""So many blocks of a content are stored by one call, which is quicker for them. If there are more, chunks are
written to the node's files."""

_FEW_LINKS: Final = 3
"""How many blocks of a content are fetched one after the other: more come sooner side by side."""

_FIRST_TRY: Final = 0.5
"""Seconds after which a node is asked again for what has not come. Each later try has twice as many."""


class KuboEngine:
    """The node whose RPC API is at ``address``. If it is ``managed``, only this peer uses it. Others are told of it
    what ``reach`` lets them be told. The home ``owner`` uses it, if that is not empty."""

    def __init__(self, address: str, *, managed: bool = False, reach: Reach = ANYWHERE, owner: str = "") -> None:
        self._api = KuboApi(address)
        self._files = None if self._api.socket is None else NodeFiles.beside(self._api.socket)
        self._open_files = self._files if self._files is not None and self._files.takes_blocks else None
        """Where chunks may be written."""
        self._homes = None if managed or not owner else HomesOfNode(self._api, owner)
        self._reach = reach
        self._coming = ComingContents()
        self._unfinished = None if self._files is None else UnfinishedContents(self._files.repository)
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
        self._import([], blocks)
        if pin:
            self._pin_alone(pin)

    def put_content(self, root: CID, blocks: Iterable[Block]) -> None:
        """As `peer.engine.interface.Engine` says. If they are many, chunks are written to the node's own files, if it
        takes them: through the API they would be copied and hashed once more."""
        rest = iter(blocks)
        few = list(islice(rest, _FEW_BLOCKS + 1))
        if len(few) > _FEW_BLOCKS and self._open_files is not None:
            failure = self._store_beside(self._open_files, root, chain(few, rest))
        else:
            failure = self._import([root], chain(few, rest))
        if failure:
            why = self._api.meaning(failure)
            raise Unreachable(root, f"{root} could not be pinned: {failure}") if isinstance(why, KuboRefused) else why

    def _store_beside(self, files: NodeFiles, root: CID, blocks: Iterable[Block]) -> str:
        """Write the chunks to the node's ``files``, and have it import what links to them, which makes it look at each.
        Returns what `_import` does."""
        linking: list[Block] = []

        def chunks() -> Iterator[Block]:
            for block in blocks:
                if block.cid.is_raw:
                    yield block
                else:
                    linking.append(block)

        files.write(chunks())
        return self._import([root], linking)

    def drop(self, contents: Sequence[CID], blocks: Sequence[CID] = (), *, keep: Sequence[CID] = ()) -> None:
        """As `peer.engine.interface.Engine` says. Kubo's ``block/rm`` leaves what a pin leads to, whoever set it."""
        if self._homes is not None:
            self._homes.refuse_if_shared()
        unneeded = list(dict.fromkeys((*(cid for root in contents for cid in reached(root, self._links)), *blocks)))
        for cid in (*contents, *blocks):
            self.unpin(cid)
        if keep:
            self._pin_alone(keep)
        unneeded.reverse()  # what links others goes after them, so a crash loses no way to them
        for start in range(0, len(unneeded), _REMOVED_AT_ONCE):
            some = map(str, unneeded[start : start + _REMOVED_AT_ONCE])
            answer = self._api.call("block/rm", *some, force=True, within=_REMOVE_SECONDS)
            for said in map(self._api.said, answer.splitlines()):
                if (why := said.get("Error")) and "pinned" not in str(why):
                    raise self._api.meaning(str(why))

    def keeps(self, root: CID) -> bool:
        try:
            self._api.call("pin/ls", str(root), type="recursive")
        except KuboRefused as error:
            if "not pinned" not in str(error):
                raise
            return False
        return True

    def sizes(self, cids: Sequence[CID]) -> dict[CID, int]:
        """As `peer.engine.interface.Engine` says. What links nothing is asked for many at a time."""
        raw = [cid for cid in cids if cid.is_raw]
        alone = [cid for cid in cids if not cid.is_raw]
        found: dict[CID, int] = {}
        for start in range(0, len(raw), _ASKED_AT_ONCE):
            some = raw[start : start + _ASKED_AT_ONCE]
            try:
                answer = self._api.call("dag/stat", *map(str, some), progress=False, offline=True)
                told = self._api.said(answer)["DagStats"]
                found |= {CID.parse(each["Cid"]): int(each["Size"]) for each in told}
            except KuboRefused as error:
                if not error.is_not_found:
                    raise
                alone += some
            except (KeyError, TypeError, ValueError) as error:
                raise self._api.no_kubo() from error
        for cid in alone:
            with contextlib.suppress(KuboRefused):
                found[cid] = int(self._api.said(self._api.call("block/stat", str(cid), offline=True))["Size"])
        return found

    def _links(self, cid: CID) -> Sequence[CID]:
        """What a block links to; nothing if it is not here."""
        if cid.is_raw:
            return ()
        try:
            return links_of(Block(cid, self.get_here(cid)))
        except MissingBlock:
            return ()

    def has(self, cid: CID) -> bool:
        try:
            self._api.call("block/stat", str(cid), offline=True)
        except KuboRefused as error:
            if error.is_not_found:
                return False
            raise
        return True

    def get_here(self, cid: CID) -> bytes:
        if (data := self._from_files(cid)) is not None:
            return data
        try:
            return checked_block(cid, self._api.call("block/get", str(cid), offline=True)).data
        except KuboRefused as error:
            if error.is_not_found:
                raise MissingBlock(cid) from error
            raise

    def _from_files(self, cid: CID) -> bytes | None:
        """A block, checked, from the node's own files; None if the node has to be asked."""
        if self._files is None or (data := self._files.read(cid)) is None:
            return None
        return checked_block(cid, data).data

    def get(self, cid: CID, *, timeout: float = 30.0) -> bytes:
        if (data := self._from_files(cid)) is not None:
            return data

        def ask(patience: float) -> bytes:
            return self._api.call("block/get", str(cid), within=patience)

        return checked_block(cid, _ask_until(cid, time.monotonic() + timeout, ask)).data

    def drop_damaged(self, cid: CID) -> None:
        """As `peer.engine.interface.Engine` says. A node removes a damaged block that is pinned only by checking its
        whole repository. After that, a node that remembers which blocks it has still believes that it has this
        one, and stores no copy that it is given (boxo/blockstore/twoqueue_cache.go), until it has failed to read it."""
        if not self._has_damaged(cid):
            return
        _log.warning("the Kubo node at %s has a damaged copy of %s: it is removed", self.address, cid)
        try:
            self._api.call("block/rm", str(cid), force=True)
            if not self.has(cid):
                return
        except KuboRefused as error:
            _log.debug("%s is not removed by itself: %s", cid, error)
        with contextlib.suppress(KuboRefused):  # its answer if it found damage
            self._api.call("repo/verify", drop=True, within=_VERIFY_SECONDS)
        self._has_damaged(cid)  # reads it, for the reason above

    def _has_damaged(self, cid: CID) -> bool:
        try:
            self.get_here(cid)
        except MissingBlock:
            return False
        except BlockError:
            return True
        return False

    def fetch(self, root: CID, *, timeout: float, limit: int) -> None:
        coming, is_whole = self._coming.take(root), False
        try:
            if coming.is_slow:
                self._fetch_singly(root, limit, time.monotonic() + timeout, coming)
            deadline = time.monotonic() + timeout

            def pin(patience: float) -> None:
                self._fetch_few(root, patience, deadline)
                self._pin_tree(root, limit, deadline=deadline, stall=patience, coming=coming)

            _ask_until(root, deadline, pin)
            is_whole = True
            self._finished(root)
        except TooLarge:
            self._finished(root)
            raise
        except Unreachable as error:
            if not coming.goes_on():
                raise
            raise StillComing(root, f"{root} is not here yet, {coming.blocks} blocks are: {error}") from error
        finally:
            self._coming.end(root, coming, is_whole=is_whole)

    def _finished(self, root: CID) -> None:
        if self._unfinished is not None:
            self._unfinished.end(root)

    def _fetch_singly(self, root: CID, limit: float, deadline: float, coming: Coming) -> None:
        """Fetch what is not here of ``root``, one block after the other, so that each has the line to itself. Whoever
        sends gives up a block that takes too long. Of several side by side, each takes as long as all of them.

        Raises:
            Unreachable: if a block does not come, or the time is up and it may not last.
            TooLarge: if what came, over all tries, has more than ``limit`` bytes.
        """

        def links(cid: CID) -> Sequence[CID]:
            if self.has(cid):
                return self._links(cid)
            is_over = time.monotonic() >= deadline
            if is_over and not self._coming.may_last(coming):
                raise Unreachable(cid, f"{cid} was not asked for before the time was up")
            data = self._get_slowly(cid, coming)
            coming.note_one(len(data))
            if coming.size > limit:
                raise _too_large(root, limit)
            return links_of(Block(cid, data))

        reached(root, links)

    def _get_slowly(self, cid: CID, coming: Coming) -> bytes:
        """One block that others have to themselves. It is not asked for again before they have sent it or given it up,
        and then only if bytes came meanwhile: what they had in their queues goes first.

        Raises:
            Unreachable: if it does not come.
        """
        tries = 0
        while True:
            tries += 1
            coming.note_received(self._bitswap_received())
            try:
                return checked_block(cid, self._api.call("block/get", str(cid), within=SEND_SECONDS)).data
            except (KuboRefused, KuboTimeout, KuboSilent) as error:
                if isinstance(error, KuboRefused) and not error.is_not_found:
                    raise
                if tries == _SLOW_TRIES or not coming.moves(self._bitswap_received(), 0.0):
                    raise Unreachable(cid, f"nobody within reach has {cid}: {error}") from error

    def _fetch_few(self, root: CID, patience: float, deadline: float) -> None:
        """Have the node fetch a content of few blocks in one session of bitswap, if none of it is here. It is pinned
        after that: what did not come here comes then.

        Whoever has the first block of a session is asked for the next ones themselves. ``pin/add`` has one session for
        the root, and another for the rest, which asks everybody anew whether they have it, and only then for it. And a
        node sends no two messages to another within 20 ms (boxo, ``minSendMessageDelay``): so it takes 40 ms more.
        """
        if root.is_raw or self._from_files(root) is not None:
            return
        within = max(min(deadline - time.monotonic(), _STALL_SECONDS), 0.0)
        with contextlib.suppress(KuboRefused, KuboTimeout, KuboSilent, BlockError):
            response = self._api.open("dag/stat", str(root), progress=True, within=within, begins=patience)
            with contextlib.closing(response), self._api.translated():
                lines = response.iter_lines()  # one for each block that came
                next(lines, None)
                links = self._links(root)
                if len(links) <= _FEW_LINKS and all(link.is_raw for link in links):
                    for _ in lines:
                        pass

    def read_content(self, root: CID) -> Iterable[Block]:
        """As `peer.engine.interface.Engine` says. A node that has to be asked is asked once, for all of it."""
        if self._from_files(root) is None:
            return self._exported(root)
        return self._walked(root)

    def _walked(self, root: CID) -> Iterator[Block]:
        try:
            yield from walk(root, lambda cid: Block(cid, self.get_here(cid)))
        except MissingBlock as error:
            raise self._not_whole(root, error) from error

    def _not_whole(self, root: CID, error: MissingBlock) -> Unreachable:
        return Unreachable(error.cid, f"{root} is not whole: {error.cid} is not on the Kubo node at {self._api.shown}")

    def _exported(self, root: CID) -> Iterator[Block]:
        try:
            response = self._api.open("dag/export", str(root), progress=False, offline=True)
            with contextlib.closing(response), self._api.translated():
                yield from complete(root, read_car(_Body(response.iter_raw()))[1])
        except (KuboRefused, CarCutShort) as error:
            raise Unreachable(root, f"{root} is not whole on the Kubo node at {self._api.shown}") from error
        except MissingBlock as error:
            raise self._not_whole(root, error) from error

    def pin(self, cid: CID, *, recursive: bool) -> None:
        if not recursive:
            self._pin_alone([cid])
            return
        coming = Coming()

        def pin() -> None:
            # no time-out: a long run takes long to walk
            self._pin_tree(cid, math.inf, deadline=math.inf, stall=_STALL_SECONDS, coming=coming)

        try:
            try:
                pin()
            except KuboTimeout:
                if not coming.is_slow:
                    raise
                self._fetch_singly(cid, math.inf, math.inf, coming)
                pin()
        except KuboTimeout as error:
            self._check_going(cid)
            raise Unreachable(cid, f"{cid} is not whole, so it is not pinned: {error}") from error

    def _pin_alone(self, cids: Sequence[CID]) -> None:
        try:
            self._api.call("pin/add", *map(str, cids), recursive=False)
        except KuboRefused as error:
            if "already pinned recursively" not in str(error):
                raise
            if len(cids) > 1:  # Kubo stopped at the first such block, so the others are not pinned yet
                for cid in cids:
                    self._pin_alone([cid])

    def unpin(self, cid: CID) -> None:
        try:
            self._api.call("pin/rm", str(cid))
        except KuboRefused as error:
            if "not pinned" not in str(error):
                raise

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
        self._api.call("version", within=_CHECK_SECONDS)

    def hang_up(self) -> None:
        self._api.hang_up()

    def close(self) -> None:
        for subscription in self._subscriptions:
            subscription.close()
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

    def _import(self, roots: Sequence[CID], blocks: Iterable[Block]) -> str:
        """Store blocks in one call, and pin ``roots`` recursively. Returns why they could not be pinned; empty if they
        were.

        Raises:
            EngineError: also if the node took fewer blocks than it was given.
        """
        given = 0

        def counted() -> Iterator[Block]:
            nonlocal given
            for block in blocks:
                given += 1
                yield block

        answer = self._api.call(
            "dag/import",
            upload=write_car(roots, counted()),
            pin_roots=bool(roots),
            stats=True,
            fast_provide_root=False,
        )
        lines = [self._api.said(line) for line in answer.splitlines()]
        try:
            (taken,) = (line["Stats"]["BlockCount"] for line in lines if line.get("Stats"))
            failures = "".join(line["Root"]["PinErrorMsg"] for line in lines if line.get("Root"))
        except (KeyError, TypeError, ValueError) as error:
            raise self._api.no_kubo() from error
        if taken != given:
            raise EngineError(f"the Kubo node at {self._api.shown} took {taken} of {given} blocks")
        return failures

    def _pin_tree(self, root: CID, limit: float, *, deadline: float, stall: float, coming: Coming) -> None:
        """Pin ``root`` recursively and watch the progress, which Kubo reports twice a second (with bytes since 0.40).
        It is noted in ``coming``. Over a slow line many blocks come side by side, and none is whole for long: so it
        goes on as long as bytes come, and a block of them can.

        Raises:
            KuboTimeout: if no block came for ``stall`` seconds, or the deadline is over and it may not last.
            EngineUnavailable: if the node stops meanwhile.
            TooLarge: if it has more than ``limit`` bytes.
        """
        pauses = None if deadline == math.inf else _STALL_SECONDS  # it says twice a second how far it is
        response = self._api.open("pin/add", str(root), recursive=True, progress=True, within=math.inf, pauses=pauses)
        tried, too_large = _Try(root, stall, deadline), False
        with contextlib.closing(response), self._api.translated():
            for line in response.iter_lines():
                news = self._api.said(line)
                if news.get("Pins"):
                    return
                if news.get("Bytes", 0) > limit:
                    too_large = True
                    break
                if not self._waits_on(tried, coming, news.get("Progress", 0), news.get("Bytes", 0)):
                    break
        if too_large:
            self.unpin(root)  # Kubo may have pinned it before it said how large it is
            raise _too_large(root, limit)
        self._check_going(root)
        raise KuboTimeout(f"the Kubo node at {self._api.shown} did not get all of it: {tried.blocks} blocks came")

    def _waits_on(self, tried: _Try, coming: Coming, blocks: int, size: int) -> bool:
        """Whether to wait for more, if so many blocks are here by now, with ``size`` bytes."""
        now = time.monotonic()
        if blocks > tried.blocks:
            if not tried.blocks and tried.deadline < math.inf and self._unfinished is not None:
                self._unfinished.begin(tried.root)
            tried.blocks, tried.since = blocks, now
            coming.note(blocks, size, now)
        elif not coming.knows_received:
            coming.note_received(self._bitswap_received())
        elif now - tried.since > (max(tried.stall, _FRAME_SECONDS) if blocks else tried.stall):
            if not coming.moves(self._bitswap_received(), now - (coming.waits_since or now)):
                return False
            tried.since = now
        is_coming = coming.waits_since is not None and now - coming.waits_since < SEND_SECONDS
        return now < tried.deadline or (is_coming and self._coming.may_last(coming))

    def _bitswap_received(self) -> int | None:
        """The bytes that blocks and questions for them have taken so far; None if the node does not count."""
        try:
            return int(self._api.said(self._api.call("stats/bw", proto=_BITSWAP, within=_CHECK_SECONDS))["TotalIn"])
        except (KuboRefused, KuboTimeout, KeyError, TypeError, ValueError):
            return None

    def _check_going(self, cid: CID) -> None:
        """Check that a pin did not fail because the node is stopping. An answer that is cut short says why only in a
        trailer, which httpx does not read. Another call tells.

        Raises:
            EngineUnavailable: if the node is stopping.
        """
        with contextlib.suppress(KuboRefused):  # we know that it is not pinned
            self._api.call("pin/ls", str(cid))

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


class _Try:
    """How far one pin is."""

    def __init__(self, root: CID, stall: float, deadline: float) -> None:
        self.root, self.deadline = root, deadline
        self.stall = stall
        """Seconds without a block, or bytes, after which it is given up."""
        self.blocks = 0
        self.since = time.monotonic()
        """When bytes moved last."""


def _too_large(root: CID, limit: float) -> TooLarge:
    return TooLarge(f"{root} is larger than the {limit} bytes allowed")


class _Body:
    """The body of an answer, as a stream to `read`."""

    def __init__(self, parts: Iterator[bytes]) -> None:
        self._parts = parts
        self._rest = memoryview(b"")

    def read(self, size: int, /) -> bytes:
        """``size`` bytes; fewer only at the end."""
        found: list[memoryview] = []
        while size:
            if not self._rest:
                part = next(self._parts, None)
                if part is None:
                    break
                self._rest = memoryview(part)
            found.append(self._rest[:size])
            self._rest = self._rest[size:]
            size -= len(found[-1])
        return b"".join(found)


def _ask_until(cid: CID, deadline: float, ask: Callable[[float], _T]) -> _T:
    """What ``ask`` returns. It is asked again and again, each time with a longer time-out.

    Bitswap asks its peers once. A peer that imports the block as a CAR later does not tell those that asked.

    Raises:
        Unreachable: if ``cid`` did not come before the deadline.
        KuboSilent: if the node did not even say so.
    """
    patience = _FIRST_TRY
    while True:
        left = deadline - time.monotonic()
        try:
            return ask(max(min(patience, left), 0.0))
        except (KuboRefused, KuboTimeout, KuboSilent) as error:
            if isinstance(error, KuboRefused) and not error.is_not_found:
                raise
            if left <= patience:
                if isinstance(error, KuboSilent):
                    raise
                raise Unreachable(cid, f"nobody within reach has {cid}: {error}") from error
        patience *= 2

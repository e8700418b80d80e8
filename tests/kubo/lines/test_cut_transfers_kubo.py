"""A content that comes over a line which is cut, or slow: what came is not asked for again, and nothing is given up."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest
from line import Line

from peer.engine.engine_retries import EngineRetries
from peer.engine.interface import EngineError, StillComing
from peer.engine.kubo.engine import KuboEngine
from peer.engine.kubo.node import KuboNode
from peer.engine.kubo.node_watch import NodeWatch
from peer.engine.kubo.reach import AskedReach, Reach
from protocol.blocks.cid import CID, Block, raw_block
from protocol.blocks.content import write_manifest

pytestmark = pytest.mark.kubo

KEY = bytes(range(32))
SIZE: Final = 1 << 20
"""Of each block."""

NOWHERE = "127.0.0.1:1"
"""An address at which nobody listens."""


@dataclass(frozen=True)
class Apart:
    """Two nodes, the line to the first, and the address at which the second reaches it."""

    first: KuboNode
    second: KuboNode
    one: KuboEngine
    two: KuboEngine
    line: Line
    address: str


@contextlib.contextmanager
def far_apart(folder: Path, rate: float) -> Iterator[Apart]:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = int(probe.getsockname()[1])
    line = Line(port, rate)
    reach = AskedReach.parse([f"127.0.0.1:{port}"], [line.address], None).over(Reach())
    other = AskedReach.parse(["127.0.0.1"], [NOWHERE], None).over(Reach())
    with (
        closing(line),
        KuboNode(folder / "one", KEY, reach) as first,
        KuboNode(folder / "two", KEY, other) as second,
        closing(KuboEngine(first.api, managed=True, reach=reach)) as one,
        closing(KuboEngine(second.api, managed=True)) as two,
    ):
        [address] = one.addresses()
        two.connect([address])
        yield Apart(first, second, one, two, line, address)


def stored(engine: KuboEngine, chunks: int) -> tuple[CID, list[CID]]:
    blocks: list[Block] = [raw_block(os.urandom(SIZE)) for _ in range(chunks)]
    root, manifest = write_manifest(b"body", [block.cid for block in blocks])
    engine.put_content(root, [*manifest, *blocks])
    return root, [block.cid for block in blocks]


def ended(node: KuboNode) -> None:
    """End a node with ``kill -9``."""
    assert node._daemon is not None
    dead = node._daemon.pid
    os.kill(dead, signal.SIGKILL)
    os.waitid(os.P_PID, dead, os.WEXITED | os.WNOWAIT)


def killed(node: KuboNode) -> None:
    """End a node, and start it again as its watch does."""
    ended(node)
    NodeWatch(node).look()


def came(engine: KuboEngine) -> int:
    """The blocks that its node got from others since it was started, those among them that it had included."""
    return int(engine._api.said(engine._api.call("bitswap/stat"))["BlocksReceived"])


class Transfer:
    """A content on its way from one node to the other, of which half is here."""

    def __init__(self, apart: Apart, chunks: int, pool: ThreadPoolExecutor) -> None:
        self.apart = apart
        self.root, self.chunks = stored(apart.one, chunks)
        self._pool = pool
        self.fetch = pool.submit(self._fetched)
        while self.here < chunks // 2:
            assert not self.fetch.done(), self.fetch.exception()
            time.sleep(0.05)

    @property
    def here(self) -> int:
        return len(self.apart.two.sizes(self.chunks))

    def goes_on(self) -> None:
        """As peers do: who is away is dialled again, and what did not come is asked for again."""
        while not self.fetch.done():
            with contextlib.suppress(EngineError):
                self.apart.two.connect([self.apart.address])
            time.sleep(0.5)
        self.fetch.result()
        assert self.here == len(self.chunks)

    def _fetched(self) -> None:
        retries = EngineRetries()
        while True:
            with contextlib.suppress(StillComing):
                retries(lambda: self.apart.two.fetch(self.root, timeout=20.0, limit=1 << 30))
                return


@pytest.fixture
def transfer(tmp_path: Path, ipfs_program: Path) -> Iterator[Transfer]:
    with far_apart(tmp_path, rate=8e6) as apart, ThreadPoolExecutor(1) as pool:
        yield Transfer(apart, 24, pool)


def test_a_node_that_sent_is_killed_and_sends_no_block_again_that_had_arrived(transfer: Transfer) -> None:
    killed(transfer.apart.first)
    transfer.goes_on()
    assert came(transfer.apart.two) == len(transfer.chunks) + 1


def test_a_node_that_fetched_is_killed_and_gets_no_block_again_that_had_arrived(transfer: Transfer) -> None:
    killed(transfer.apart.second)
    here = transfer.here
    assert here >= len(transfer.chunks) // 2
    transfer.goes_on()
    assert came(transfer.apart.two) <= len(transfer.chunks) - here


def test_a_peer_that_fetched_is_killed_and_what_had_arrived_stays_though_its_node_deletes_what_nobody_pinned(
    transfer: Transfer,
) -> None:
    node = transfer.apart.second
    ended(node)
    node.start(collect=True)
    here = transfer.here
    assert here >= len(transfer.chunks) // 2
    transfer.goes_on()
    assert came(transfer.apart.two) <= len(transfer.chunks) - here


@pytest.mark.all
def test_a_line_that_was_cut_for_a_minute_carries_no_block_again_that_had_arrived(transfer: Transfer) -> None:
    transfer.apart.line.cut()
    time.sleep(60.0)
    assert not transfer.fetch.done()
    transfer.apart.line.mend()
    transfer.goes_on()
    assert came(transfer.apart.two) == len(transfer.chunks) + 1


@pytest.mark.all
@pytest.mark.usefixtures("ipfs_program")
def test_a_slow_transfer_is_not_ended_as_its_time_is_up_and_no_block_comes_twice(tmp_path: Path) -> None:
    with far_apart(tmp_path, rate=1e6) as apart:
        root, chunks = stored(apart.one, 24)
        apart.two.fetch(root, timeout=5.0, limit=1 << 30)
        assert came(apart.two) == len(chunks) + 1

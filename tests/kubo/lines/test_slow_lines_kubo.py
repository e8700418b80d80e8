"""Contents over lines so slow that a node gives up what it sends: they come all the same, and once."""

from __future__ import annotations

import contextlib
import ctypes
import os
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from pathlib import Path

import bridge as bridging
import namespaces
import pytest
from bridge import ETHERNET, bridged
from namespaces import Host

from peer.engine.interface import EngineUnavailable
from peer.engine.kubo.engine import KuboEngine
from peer.engine.kubo.node import KuboNode
from peer.engine.kubo.reach import AskedReach, Reach
from protocol.blocks.cid import CID, raw_block
from protocol.blocks.content import write_manifest

WHY_NOT = namespaces.why_not() or bridging.why_not()

pytestmark = [
    pytest.mark.kubo,
    pytest.mark.all,
    pytest.mark.skipif(bool(WHY_NOT), reason=WHY_NOT),
    pytest.mark.usefixtures("ipfs_program"),
]

CLONE_NEWNET = 0x40000000
"""linux/sched.h."""


@contextlib.contextmanager
def at(host: Host) -> Iterator[None]:
    """What this thread starts is on a host (setns(2))."""
    own, other = (os.open(name, os.O_RDONLY) for name in ("/proc/thread-self/ns/net", f"/run/netns/{host.name}"))
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.setns(other, CLONE_NEWNET) == 0, os.strerror(ctypes.get_errno())
    try:
        yield
    finally:
        assert libc.setns(own, CLONE_NEWNET) == 0, os.strerror(ctypes.get_errno())
        os.close(own)
        os.close(other)


@contextlib.contextmanager
def far_apart(folder: Path, rate: float) -> Iterator[tuple[KuboEngine, KuboEngine]]:
    """A node behind a line of so many bytes a second, and one that is connected to it."""
    with bridged("one", "two", mtu=ETHERNET) as (bridge, hosts), ExitStack() as stack:
        engines = []
        for name, host in hosts.items():
            reach = AskedReach.parse([host.ip], [], None).over(Reach())
            with at(host):
                node = stack.enter_context(KuboNode(folder / name, bytes(32), reach))
            engines.append(stack.enter_context(closing(KuboEngine(node.api, managed=True))))
        one, two = engines
        two.connect(one.addresses())
        bridge.slow("one", rate)
        yield one, two


def stored(engine: KuboEngine, chunks: int, size: int) -> CID:
    blocks = [raw_block(os.urandom(size)) for _ in range(chunks)]
    root, manifest = write_manifest(b"body", [block.cid for block in blocks])
    engine.put_content(root, [*manifest, *blocks])
    return root


def received(engine: KuboEngine) -> tuple[int, int]:
    """The blocks that its node got from others, and the bytes of bitswap altogether."""
    blocks = engine._api.said(engine._api.call("bitswap/stat"))["BlocksReceived"]
    moved = engine._api.bitswap_received()
    assert moved is not None
    return int(blocks), moved


def test_a_slow_transfer_is_not_ended_while_blocks_come_and_no_block_comes_twice(tmp_path: Path) -> None:
    chunks, size = 12, 96 << 10
    with far_apart(tmp_path, rate=30_000) as (one, two):
        root = stored(one, chunks, size)
        two.fetch(root, timeout=10.0, limit=1 << 30)
        blocks, moved = received(two)
        assert blocks == chunks + 1
        assert moved < 1.05 * chunks * size


def test_what_would_be_too_slow_side_by_side_comes_one_block_after_the_other_from_the_first(tmp_path: Path) -> None:
    """A node has 44 s to send a block of this size. Alone each takes 13 s, and side by side all of them 65 s."""
    chunks, size = 5, 512 << 10
    with far_apart(tmp_path, rate=40_000) as (one, two):
        root = stored(one, chunks, size)
        two.fetch(root, timeout=30.0, limit=1 << 30)
        assert two.keeps(root)
        blocks, moved = received(two)
        assert blocks == chunks + 1
        assert moved < 1.05 * chunks * size


def test_a_single_chunk_that_takes_longer_than_it_is_given_comes_as_long_as_bytes_do(tmp_path: Path) -> None:
    with far_apart(tmp_path, rate=40_000) as (one, two):
        chunk = raw_block(os.urandom(512 << 10))
        one.put([chunk])
        assert two.get(chunk.cid, timeout=10.0) == chunk.data


def test_a_fetch_that_knows_nothing_of_the_one_before_goes_on_where_that_was(tmp_path: Path) -> None:
    """As after a peer was started again. The blocks that are here come in no time, and tell nothing of the line."""
    chunks, size = 6, 256 << 10
    with far_apart(tmp_path, rate=30_000) as (one, two), ThreadPoolExecutor(1) as pool:
        root = stored(one, chunks, size)
        ended = pool.submit(two.fetch, root, timeout=60.0, limit=1 << 30)
        while received(two)[0] < 1 + chunks // 2:
            assert not ended.done(), ended.exception()
            time.sleep(0.1)
        with closing(KuboEngine(two.address, managed=True)) as again:
            two.hang_up()
            assert isinstance(ended.exception(), EngineUnavailable)
            again.fetch(root, timeout=60.0, limit=1 << 30)
            blocks, moved = received(again)
        assert blocks <= chunks + 2  # one was on its way
        assert moved < 1.05 * (chunks + 1) * size

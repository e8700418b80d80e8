"""A content that comes over a line which is cut, or slow: what came is not asked for again, and nothing is given up."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Final

import pytest

from peer.engine.interface import StillComing
from peer.engine.kubo.engine import KuboEngine
from peer.engine.kubo.node import KuboNode
from peer.engine.kubo.reach import AskedReach, Reach
from protocol.blocks.cid import CHUNK_SIZE, CID, Block, raw_block
from protocol.blocks.content import write_manifest

pytestmark = [pytest.mark.kubo, pytest.mark.all]

KEY = bytes(range(32))
PIECE: Final = 1 << 14
NOWHERE = "127.0.0.1:1"
"""An address at which nobody listens."""


class Line:
    """The only way to a port of loopback, which can be cut, and has a rate."""

    def __init__(self, to: int, rate: float) -> None:
        """``rate`` is in bytes a second, in each direction."""
        self._to, self._rate = to, rate
        self._is_cut = False
        self._ends: set[socket.socket] = set()
        self._listens = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listens.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        """End what goes over it, and let nobody in."""
        self._is_cut = True
        for end in list(self._ends):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def mend(self) -> None:
        """Let others in again."""
        self._is_cut = False

    def close(self) -> None:
        """Cut it for good."""
        self.cut()
        self._listens.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._listens.accept()
                if self._is_cut:
                    near.close()
                    continue
                far = socket.create_connection(("127.0.0.1", self._to))
                self._ends |= {near, far}
                for source, target in ((near, far), (far, near)):
                    threading.Thread(target=self._carry, args=(source, target), daemon=True).start()

    def _carry(self, source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(PIECE):
                time.sleep(len(data) / self._rate)  # that is the line
                target.sendall(data)
        for end in (source, target):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)


@contextlib.contextmanager
def far_apart(folder: Path, rate: float) -> Iterator[tuple[KuboEngine, KuboEngine, Line, str]]:
    """Two nodes, the line to the first, and the address at which the second reaches it."""
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
        yield one, two, line, address


def stored(engine: KuboEngine, chunks: int) -> tuple[CID, list[CID]]:
    blocks: list[Block] = [raw_block(os.urandom(CHUNK_SIZE)) for _ in range(chunks)]
    root, manifest = write_manifest(b"body", [block.cid for block in blocks])
    engine.put_content(root, [*manifest, *blocks])
    return root, [block.cid for block in blocks]


@pytest.mark.usefixtures("ipfs_program")
def test_a_transfer_that_was_cut_goes_on_where_it_was(tmp_path: Path) -> None:
    chunks = 24
    with far_apart(tmp_path, rate=4e6) as (one, two, line, address), ThreadPoolExecutor(1) as pool:
        root, cids = stored(one, chunks)
        fetched = pool.submit(two.fetch, root, timeout=20.0, limit=1 << 30)
        while len(two.sizes(cids)) < chunks // 2:
            assert not fetched.done(), fetched.exception()
            time.sleep(0.1)
        line.cut()
        with pytest.raises(StillComing):
            fetched.result()
        here = len(two.sizes(cids))
        assert chunks // 2 <= here < chunks
        line.mend()
        two.connect([address])
        two.fetch(root, timeout=120.0, limit=1 << 30)
        assert len(two.sizes(cids)) == chunks
        # what was on its way is sent again; from the beginning it would be half as much more
        assert one.status().bytes_sent < 1.45 * chunks * CHUNK_SIZE


@pytest.mark.usefixtures("ipfs_program")
def test_a_slow_transfer_is_still_coming_whenever_its_time_is_up(tmp_path: Path) -> None:
    chunks, interrupted = 24, 0
    with far_apart(tmp_path, rate=1e6) as (one, two, _, _):
        root, cids = stored(one, chunks)
        before = 0
        while True:
            try:
                two.fetch(root, timeout=15.0, limit=1 << 30)
                break
            except StillComing:
                interrupted += 1
                here = len(two.sizes(cids))
                assert here > before
                before = here
        assert interrupted
        assert len(two.sizes(cids)) == chunks

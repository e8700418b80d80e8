"""`peer.history.run_sources`: an index of a file that somebody else made."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

from peer.history.run_sources import CarSource
from protocol.blocks.car import write_car
from protocol.blocks.cid import raw_block

TINY = 20_000
MOST = 4 << 20
"""Bytes. All of them at once take half as much again."""


def test_memory_does_not_grow_with_blocks_of_next_to_no_bytes(tmp_path: Path) -> None:
    path = tmp_path / "tiny.car"
    blocks = [raw_block(number.to_bytes(3, "big")) for number in range(TINY)]
    path.write_bytes(b"".join(write_car([blocks[0].cid], blocks)))
    last = blocks[-1]
    del blocks

    tracemalloc.start()
    source = CarSource(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert source.get(last.cid) == last.data
    source.close()
    assert peak < MOST

"""What an app process of a replay reads: from a CAR file, in several threads, and without writing anything."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from peer.engine.contents import open_contents
from peer.engine.contents_address import car_contents, recorded_contents
from peer.engine.local.engine import LocalEngine
from protocol.blocks.car import write_car
from protocol.blocks.cid import Block, MissingBlock, raw_block

BLOCKS = [raw_block(bytes([number]) * (1000 + number)) for number in range(200)]


@pytest.fixture
def car(tmp_path: Path) -> str:
    path = tmp_path / "run.car"
    path.write_bytes(b"".join(write_car([BLOCKS[0].cid], BLOCKS)))
    return car_contents(path)


def test_a_car_is_read_by_the_threads_of_an_app_side_by_side(car: str) -> None:
    source = open_contents(car).open(BLOCKS[0].cid)

    def read(block: Block) -> bytes:
        return source.get(block.cid)

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(read, BLOCKS * 20)) == [block.data for block in BLOCKS * 20]


def test_what_an_app_stores_again_is_kept_nowhere(car: str, local_engine: LocalEngine) -> None:
    new = raw_block(b"what the app computed again")
    for where in (car, recorded_contents(local_engine)):
        open_contents(where).put_content(new.cid, [new])
    assert not local_engine.has(new.cid)
    with pytest.raises(MissingBlock):
        open_contents(car).open(new.cid).get(new.cid)

"""A run with `--drop-updates`, replayed after the updates went: it compares what is kept, and says what is not."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from federation import APPS, Federation

from peer.history.run_sources import CarSource
from peer.history.scratch import Scratch
from peer.history.walk_back import walk_back
from protocol.blocks.car import write_car
from protocol.blocks.cid import CID
from protocol.blocks.content import parse_content_manifest
from protocol.keeping.droppable import Kind
from protocol.keeping.exchanges import LinkedExchanges
from protocol.records.signed_records import read_record

APP = APPS / "every_strategy"
KEEP = "models=all updates=last:2 drop-updates"


@pytest.fixture
def federation(tmp_path: Path) -> Iterator[Federation]:
    made = Federation(tmp_path, f"local:{tmp_path / 'engine'}", encrypted=False)
    made.add("one", "two")  # of one client's updates the models are made alone, and share their chunks
    yield made
    made.end()


def updates(car: CarSource) -> Iterator[tuple[int, CID]]:
    """What clients answered, with the number of the exchange."""
    exchanges = LinkedExchanges()
    with Scratch() as scratch:
        walk_back(car.roots[0], car, scratch, None)
        for cid in scratch.oldest_first():
            for content, kind, number in exchanges.take(read_record(cid, car), car):
                if kind is Kind.UPDATE:
                    yield number, content


def without(file: Path, *, whole: bool) -> Path:
    """The run in the file without what its plan lets go: the chunks of updates, or all of them."""
    with contextlib.closing(CarSource(file)) as car:
        gone: set[CID] = set()
        for number, content in updates(car):
            if number <= 4:
                manifest = parse_content_manifest(car.get(content))
                gone |= {link for link in manifest.links.items(car) if isinstance(link, CID)}
                gone |= {content} if whole else set()
        smaller = file.with_name(f"without-{whole}.car")
        blocks = (block for block in car.blocks() if block.cid not in gone)
        smaller.write_bytes(b"".join(write_car(car.roots, blocks)))
    return smaller


@pytest.mark.parametrize("whole", [False, pytest.param(True, marks=pytest.mark.all)])  # tests/peer/audit/test_not_kept
def test_a_run_that_drops_updates_says_so_from_the_start_and_is_replayed_where_they_are_kept(
    whole: bool, federation: Federation
) -> None:
    of_chunks = "columns=300"  # less would stand in the body of a content
    config = f'strategy="FedAvg" num-server-rounds=3 min-nodes=2 central-evaluation=false {of_chunks}'
    keeping = ("--keep", "models=all updates=last:2", "--drop-updates", "--best", "loss")
    server = federation.server(APP, "--run-config", config, *keeping)
    clients = [federation.client(name, APP) for name in federation.names]
    assert [peer.code() for peer in (server, *clients)] == [0, 0, 0], server.said
    for client in clients:
        (followed,) = client.events("run-followed")
        assert followed["keep"] == KEEP

    car = without(federation.exported(), whole=whole)
    code, report = federation.replay(car, APP, "--home", str(federation.root / "auditor"))

    assert (code, report["verdict"], report["findings"]) == (0, "verified", [])
    replay = report["replay"]
    assert (replay["outcome"], replay["exchanges"], replay["not_kept"]) == ("equal", *((1, 5) if whole else (4, 2)))
    if not whole:
        assert report["not_kept"]["updates"] == 4  # of two rounds; what evaluated has no chunks
        assert report["best"]["by"] == "loss:min"

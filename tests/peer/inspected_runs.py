"""Whole runs, with the contents of an app, for the tests of what reads runs."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from chains import ALICE, BOB, Scribe
from flwr.app import Array, ArrayRecord, ConfigRecord, MetricRecord, RecordDict

from peer.audit.audit import Audit
from peer.history.run_sources import CarSource
from peer.history.scratch import Scratch
from protocol.blocks.bundle import write_bundle
from protocol.blocks.car import write_car
from protocol.blocks.cid import CID, Block, raw_block
from strategy.contents.codec import encode

ROUNDS = 2
BUNDLE = [("pyproject.toml", b"[project]\n")]


class WrittenRun:
    """A run that has begun, with its app and seed; the other methods write on."""

    def __init__(self, scribe: Scribe | None = None, **run: Any) -> None:
        """``scribe`` writes it; ``run`` are changes to its first record."""
        self.scribe = scribe or Scribe()
        self.sent: list[CID] = []
        """The contents that were dispatched, by round."""
        self.app, app_blocks = write_bundle(BUNDLE)
        seed = raw_block(b"s" * 32)
        self.scribe.source.add(*app_blocks, seed)
        self.scribe.add(self.scribe.run(app=self.app, **{"seed": seed.cid, **run}))

    def exchange(self, number: int, *, bob_answers: bool = True) -> None:
        """One round."""
        scribe = self.scribe
        config = RecordDict({"config": self.round_config(number)})
        self.sent.append(self.model(number, config))
        scribe.add(scribe.dispatch(scribe.group(ALICE, BOB, content=self.sent[-1])))
        alice = scribe.taken(ALICE, content=self.answer(loss=0.5, examples=30))
        bob = scribe.taken(BOB, content=self.answer(loss=1.0, examples=10)) if bob_answers else scribe.error(BOB)
        scribe.add(scribe.collect(alice, bob))

    def round_config(self, number: int) -> ConfigRecord:
        """How Flower's strategies name a round."""
        return ConfigRecord({"server-round": number})

    def lengthen(self, height: int) -> None:
        """Exchanges of one small message to Alice, until the head has ``height``."""
        scribe = self.scribe
        content = self.answer(loss=1.0, examples=1)
        while scribe.chain.height < height:
            if scribe.chain.index_due:
                scribe.add(scribe.index())
            elif scribe.chain.open:
                scribe.add(scribe.collect(scribe.taken(ALICE, content=content)))
            else:
                scribe.add(scribe.dispatch(scribe.group(ALICE, content=content)))

    def model(self, number: int, records: RecordDict | None = None) -> CID:
        """A model larger than one chunk, stored; another one for each ``number``."""
        records = records or RecordDict()
        data = np.full(300_000, number, np.float32)
        records["arrays"] = ArrayRecord({"weight": Array(data)})
        return self.store(records)

    def answer(self, *, loss: float, examples: int) -> CID:
        """What a client gives back, stored."""
        return self.store(RecordDict({"metrics": MetricRecord({"loss": loss, "num-examples": examples})}))

    def store(self, records: RecordDict) -> CID:
        """Store a content."""
        encoded = encode(records, None)
        self.scribe.source.add(*encoded.blocks())
        return encoded.root

    @property
    def head(self) -> CID:
        assert self.scribe.chain.head is not None
        return self.scribe.chain.head

    @property
    def run(self) -> CID:
        return self.scribe.chain.run

    @property
    def height(self) -> int:
        return self.scribe.chain.height

    @property
    def blocks(self) -> list[Block]:
        """Every block of it."""
        return [Block(cid, data) for cid, data in self.scribe.source.items()]


def finished_run(begun: WrittenRun | None = None) -> WrittenRun:
    """A run of two rounds: Alice answers in both, Bob in the first. In the second, his answer is an error."""
    written = begun or WrittenRun()
    for number in range(1, ROUNDS + 1):
        written.exchange(number, bob_answers=number == 1)
    written.scribe.add(written.scribe.close(model=written.model(ROUNDS)))
    return written


def app_folder(folder: Path) -> Path:
    """The app of a `WrittenRun`, written into ``folder``."""
    app = folder / "app"
    app.mkdir()
    for name, data in BUNDLE:
        (app / name).write_bytes(data)
    return app


@contextlib.contextmanager
def audited(written: WrittenRun, folder: Path, *, without: CID | None = None) -> Iterator[Audit]:
    """An audit to come of the run in a CAR file, which may be ``without`` one of its blocks."""
    car = folder / "run.car"
    car.write_bytes(b"".join(write_car([written.head], [each for each in written.blocks if each.cid != without])))
    with (
        Scratch() as scratch,
        contextlib.closing(CarSource(car)) as source,
        contextlib.closing(Audit(source.roots[0], source, scratch)) as audit,
    ):
        yield audit

"""Taking in a run from a CAR file: it is verified, then put into the engine and listed in the home."""

from __future__ import annotations

import contextlib
import time
from itertools import islice
from pathlib import Path
from typing import Final

from peer.audit.audit import Audit
from peer.audit.kept_reports import KeptReports
from peer.audit.report import Report, require_verified
from peer.audit.run_lookup import roots_of
from peer.engine.chosen_engine import borrowed, chosen
from peer.engine.interface import Engine
from peer.history.run_sources import CarSource
from peer.history.scratch import Scratch
from peer.history.transfer import CONTENT_LIMIT, put_all
from peer.home.acks_grants_proofs import AcksGrantsProofs, beside_head
from peer.home.federations import FederationStore
from peer.home.home import Home
from peer.home.journal import Journal, RunHead
from protocol.blocks.cid import CID, BlockError
from protocol.blocks.content import parse_content_manifest
from protocol.records.bodies import Role

_PINS: Final = 256
"""Blocks that are pinned in one call."""


def take_in(file: Path, home: Home, ipfs: str | None) -> tuple[Report, int]:
    """The report of the run in ``file``, and how many blocks were put into the engine.

    Raises:
        NotVerified: if the run is not verified. Nothing of it is kept then.
        EngineError: if the engine cannot be used.
    """
    with contextlib.closing(CarSource(file)) as car, Scratch() as scratch:
        head, beside = roots_of(car, str(file))
        known, ours = FederationStore(home).all(), beside_head(home, head, car)
        audit = Audit(head, car, scratch, known=known, beside=beside.and_of(ours))
        report = audit.run()
        require_verified(report, file)
        Journal(home.create().journal).close()  # it has the name under which this home pins
        with borrowed(home, ipfs) as engine:
            count = put_all(engine, car.blocks())
            apart = bool(report.not_kept.contents) or report.shows_disputed
            if apart:  # a node would look for what is not kept, in vain
                _pin_apart(engine, car)
            for root in (*([] if apart else [head]), *(grant.cid for grant in beside.grants)):
                engine.pin(root, recursive=True)
            engine.put([], pin=[block.cid for block in beside.statements()])
        _register(home, report, chosen(home, ipfs), beside)
        KeptReports(home).keep(report, scratch, audit.basis, audit.reader)
    return report, count


def _pin_apart(engine: Engine, car: CarSource) -> None:
    """Pin each content in the file as a whole, so that it can be dropped as one, and each other block alone."""
    of_contents: set[CID] = set()
    for block in car.blocks(chunks=False):
        with contextlib.suppress(BlockError):  # no content, or not a whole one
            parse_content_manifest(block.data)
            blocks = {each.cid for each in car.content(block.cid, CONTENT_LIMIT)}
            engine.pin(block.cid, recursive=True)
            of_contents |= blocks
    cids = (block.cid for block in car.blocks() if block.cid not in of_contents)
    while some := list(islice(cids, _PINS)):
        engine.put([], pin=some)


def _register(home: Home, report: Report, engine: str, beside: AcksGrantsProofs) -> None:
    """List the run in the journal, unless the journal knows it up to there or beyond: in a newer term, or in the same
    one up to this height."""
    assert report.run is not None  # the report is verified, and so are these
    assert report.federation is not None
    assert report.height is not None
    with Journal(home.journal) as journal:
        beside.keep(journal, report.run)
        known = journal.head_of(report.run)
        if known is None or (known.term, known.height) < (report.term, report.height):
            journal.keep_head(
                RunHead(
                    run=report.run,
                    federation=report.federation,
                    head=report.head,
                    height=report.height,
                    term=report.term,
                    closed=report.closed,
                    role=known.role if known else Role.AUDITOR,
                    engine=engine,
                    updated=time.time(),
                )
            )

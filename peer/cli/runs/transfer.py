"""``peer export`` and ``peer import``: a run as one CAR file."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from peer.audit.audit import Audit
from peer.audit.kept import KeptReports
from peer.audit.lookup import roots_of
from peer.audit.report import Report
from peer.base.errors import PeerError
from peer.cli.options import DEFAULT_HOME, EngineOption, HomeOption, JsonOption, TimeoutOption, new_app
from peer.cli.output import put_result, size
from peer.engine.choice import borrowed, chosen
from peer.history.findings import Verdict
from peer.history.named import head_named
from peer.history.scratch import Scratch
from peer.history.sources import CarSource, EngineSource
from peer.history.transfer import put_all, run_blocks
from peer.home.federations import FederationStore
from peer.home.home import Home, place_for, replace_file
from peer.home.journal import Journal, RunHead
from peer.home.run_extras import Beside, beside_head
from protocol.blocks.car import write_car
from protocol.blocks.cid import Block
from protocol.records.bodies import Role

export_app = new_app()
import_app = new_app()


@export_app.command("export")
def export(
    head: Annotated[str, typer.Argument(metavar="HEAD", help="The newest record of the run, or a run of this home.")],
    file: Annotated[Path, typer.Argument(metavar="FILE.car", help="The file to write.")],
    ipfs: EngineOption = None,
    timeout: TimeoutOption = 30.0,
    home: HomeOption = DEFAULT_HOME,
    json: JsonOption = False,
) -> None:
    """Write a run with all its models to one file, which any IPFS node and `peer audit` can read.

    The head is its first root. What this home has beside the run is further ones: grants, acks, proofs of equivocation.
    """
    cid, _ = head_named(Home(home), head)
    place = place_for(file)
    counted = _Counted()
    with Scratch() as scratch, borrowed(Home(home), ipfs) as engine:
        source = EngineSource(engine, timeout)
        beside = beside_head(Home(home), cid, source)
        blocks = counted.count(run_blocks(cid, source, scratch, beside))
        replace_file(place, write_car([cid, *beside.roots()], blocks))
    put_result(
        {"head": str(cid), "file": str(place), "blocks": counted.blocks, "bytes": counted.bytes},
        json,
        f"{file} holds the run up to {cid}: {counted.blocks} blocks, {size(counted.bytes)}",
        f"next: peer audit {file}, or on another machine: peer import {file.name}",
    )


@import_app.command("import")
def import_file(
    file: Annotated[Path, typer.Argument(metavar="FILE.car", help="What `peer export` or `ipfs dag export` wrote.")],
    ipfs: EngineOption = None,
    home: HomeOption = DEFAULT_HOME,
    json: JsonOption = False,
) -> None:
    """Verify the run in a file, then put it into the engine and list it in this home."""
    place = Home(home).create()
    with contextlib.closing(CarSource(file)) as car, Scratch() as scratch:
        head, beside = roots_of(car, str(file))
        known, ours = FederationStore(place).all(), beside_head(place, head, car)
        audit = Audit(head, car, scratch, known=known, beside=beside.and_of(ours))
        report = audit.run()
        _require_verified(file, report)
        with borrowed(place, ipfs) as engine:
            count = put_all(engine, car.blocks())
            for root in (head, *(grant.cid for grant in beside.grants)):
                engine.pin(root, recursive=True)
            engine.put([], pin=[block.cid for block in beside.statements()])
        _register(place, report, chosen(place, ipfs), beside)
        KeptReports(place).keep(report, scratch, audit.basis, audit.reader)
    put_result(
        {"run": str(report.run), "head": str(head), "blocks": count, "verdict": report.verdict.value},
        json,
        f"run {report.run} is here, verified up to height {report.height}: {count} blocks",
        f"next: peer log {report.run}",
    )


class _Counted:
    """How much went by."""

    def __init__(self) -> None:
        self.blocks = 0
        self.bytes = 0

    def count(self, blocks: Iterator[Block]) -> Iterator[Block]:
        """The same blocks."""
        for block in blocks:
            self.blocks += 1
            self.bytes += len(block.data)
            yield block


def _require_verified(file: Path, report: Report) -> None:
    if report.verdict is not Verdict.VERIFIED:
        finding = report.findings[0]
        where = "" if finding.height is None else f" at height {finding.height}"
        raise PeerError(
            f"the run in {file} is {report.verdict}{where}, so none of it was taken in: {finding.message}",
            fix=f"peer audit {file} tells more; get the file again from who exported it",
            code=report.verdict.exit_code,
        )


def _register(home: Home, report: Report, engine: str, beside: Beside) -> None:
    """List the run in the journal, unless it is known there up to this height or beyond."""
    assert report.run is not None  # the report is verified, and so are these
    assert report.federation is not None
    assert report.height is not None
    with contextlib.closing(Journal(home.journal)) as journal:
        beside.keep(journal, report.run)
        known = journal.head_of(report.run)
        if known is None or known.height < report.height:
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

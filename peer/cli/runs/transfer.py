"""``peer export`` and ``peer import``: a run as one CAR file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from peer.audit.run_lookup import federation_of
from peer.audit.verified_import import take_in
from peer.cli.options import (
    DEFAULT_HOME,
    EngineOption,
    FullOption,
    HomeOption,
    JsonOption,
    OneRunArgument,
    TimeoutOption,
    new_app,
)
from peer.cli.output import here, put_result, size
from peer.cli.told_waits import TOLD_WAITS
from peer.engine.chosen_engine import to_read_from
from peer.history.counted_blocks import CountedBlocks
from peer.history.named_runs import head_named
from peer.history.run_sources import EngineSource
from peer.history.scratch import Scratch
from peer.history.transfer import MayLack, run_blocks
from peer.home.acks_grants_proofs import beside_head
from peer.home.home import Home, place_for, replace_file
from peer.keeping.dropped import dropped_here
from protocol.blocks.car import write_car
from protocol.blocks.cid import CID, Block
from protocol.records.bodies import Ack
from protocol.records.signed_records import parse_record, read_chained

export_app = new_app()
import_app = new_app()


@export_app.command("export")
def export(
    head: OneRunArgument,
    file: Annotated[Path, typer.Argument(metavar="FILE.car", help="The file to write.")],
    ipfs: EngineOption = None,
    timeout: TimeoutOption = 30.0,
    full: FullOption = False,  # noqa: ARG001  # its callback does what it says
    home: HomeOption = DEFAULT_HOME,
    json: JsonOption = False,
) -> None:
    """Write a run with all its models to one file, which any IPFS node and `peer audit` can read.

    Its first root is the head. Further roots are grants, acks and proofs of equivocation that this home has.
    """
    cid, _ = head_named(Home(home), head)
    place = place_for(file)
    counted = CountedBlocks()
    with Scratch() as scratch, to_read_from(Home(home), ipfs, federation_of(Home(home), cid)) as engine:
        dropped = dropped_here(Home(home), cid)
        source = EngineSource(engine, timeout, dropped, TOLD_WAITS)
        beside = beside_head(Home(home), cid, source)
        may_lack = MayLack(dropped)
        blocks = counted.count(run_blocks(cid, source, scratch, beside, may_lack))
        replace_file(place, write_car([cid, *beside.roots()], blocks))
        lost = sum(_is_of_lost_tail(block, cid, source, scratch) for block in beside.acks)
    put_result(
        {
            "head": str(cid),
            "file": str(place),
            "blocks": counted.blocks,
            "bytes": counted.bytes,
            "not_kept": may_lack.lacked,
            "acks_of_lost_tails": lost,
        },
        json,
        f"{file} holds the run up to {cid}: {counted.blocks} blocks, {size(counted.bytes)}",
        *([f"{may_lack.lacked} contents are not in it: not kept by policy"] if may_lack.lacked else []),
        *([_about_ours(may_lack.lacked_here)] if may_lack.lacked_here else []),
        *([f"acks in it of a tail that a takeover left out, and that is not in it: {lost}"] if lost else []),
        f"next: peer audit {file}, or on another machine: peer import {file.name}",
    )


def _is_of_lost_tail(block: Block, head: CID, source: EngineSource, scratch: Scratch) -> bool:
    """Whether an ack names a record of an older term that is not in the chain of ``head``."""
    ack = parse_record(block).body
    return isinstance(ack, Ack) and not scratch.in_chain(ack.head) and ack.term < read_chained(head, source).term


def _about_ours(count: int) -> str:
    """What others will say of what this home alone let go. Its word is not the run's plan, on which they rely."""
    return (
        f"of these, {count} went by this home's own plan (peer keep), which is not the run's: an audit of the file "
        "calls them missing. An export by a member that has them is whole"
    )


@import_app.command("import")
def import_file(
    file: Annotated[Path, typer.Argument(metavar="FILE.car", help="What `peer export` or `ipfs dag export` wrote.")],
    ipfs: EngineOption = None,
    full: FullOption = False,  # noqa: ARG001  # its callback does what it says
    home: HomeOption = DEFAULT_HOME,
    json: JsonOption = False,
) -> None:
    """Verify the run in a file, then put it into the engine and list it in this home."""
    report, count = take_in(file, Home(home).create(), ipfs)
    put_result(
        {"run": str(report.run), "head": str(report.head), "blocks": count, "verdict": report.verdict.value},
        json,
        f"run {report.run} is here, verified up to height {report.height}: {count} blocks",
        here(f"next: peer history {report.run}"),
    )

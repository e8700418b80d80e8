"""``peer dispute``: write down what two servers say differently of one run, with all that it takes to judge it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from peer.audit.dispute import acks_up_to, disputed, words_in_takeovers
from peer.audit.run_lookup import federation_of
from peer.base.errors import PeerError
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
from peer.history.run_sources import EngineSource, RunSource
from peer.history.scratch import Scratch
from peer.history.transfer import CONTENT_LIMIT, MayLack, run_blocks
from peer.home.acks_grants_proofs import AcksGrantsProofs, beside_head, run_named
from peer.home.home import Home, place_for, replace_file
from peer.keeping.dropped import dropped_here
from protocol.blocks.car import write_car
from protocol.blocks.cid import CID, Block, MissingBlock
from protocol.visible import named
from protocol.witnesses.dispute import Dispute

app = new_app()

OutputOption = Annotated[
    Path | None,
    typer.Option("-o", "--output", metavar="FILE.car", help="The file to write.", show_default="only show it"),
]


@app.command("dispute")
def dispute(
    run: OneRunArgument,
    output: OutputOption = None,
    ipfs: EngineOption = None,
    timeout: TimeoutOption = 30.0,
    full: FullOption = False,  # noqa: ARG001  # its callback does what it says
    home: HomeOption = DEFAULT_HOME,
    json: JsonOption = False,
) -> None:
    """Show what another server signs against a run, and write both words to a file that anybody can judge.

    The file has the run up to the record that they differ about, the replies before it with their contents, the word of
    the server that contradicts it, and what that server computed. `peer audit FILE` runs the app again, and says who is
    wrong. Write it in the home of a server or a keeper: other members may not have all replies.
    """
    place = Home(home)
    cid, _ = head_named(place, run)
    with Scratch() as scratch, to_read_from(place, ipfs, federation_of(place, cid)) as engine:
        dropped = dropped_here(place, cid)
        source = EngineSource(engine, timeout, dropped, TOLD_WAITS)
        beside = beside_head(place, cid, source)
        found = disputed(beside, id := run_named(cid, source))
        if found is None:  # a takeover against a record has the words in it
            acks = (*beside.acks, *words_in_takeovers(cid, source))
            beside = AcksGrantsProofs(beside.grants, acks, beside.proofs)
            found = disputed(beside, id)
        if found is None:
            raise PeerError(
                "no server contradicts that run, as far as this home knows",
                fix="in a run with witnesses, all members keep such a word; else the server that leads, or stands by, "
                "has it",
            )
        told, ack = found
        made = ack.recomputed.content
        facts = {
            "run": str(ack.run),
            "height": ack.height,
            "record": str(told.record),
            "word": str(told.word),
            "message": ack.recomputed.message,
            "content": None if made is None else str(made),
        }
        said = f"another server signs that it came to something else at height {ack.height}"
        if output is None:
            put_result({**facts, "file": None}, json, said, here(f"next: peer dispute {run} -o dispute.car"))
            return
        file = place_for(output)
        counted = CountedBlocks()
        blocks = counted.count(_blocks(told, source, scratch, acks_up_to(beside, ack), MayLack(dropped), made))
        roots = [told.block().cid, told.record, *acks_up_to(beside, ack).roots()]
        replace_file(file, write_car(roots, blocks))
    put_result(
        {**facts, "file": str(file)},
        json,
        said,
        f"{named(output.name)} has both words, and the run up to there: {counted.blocks} blocks, {size(counted.bytes)}",
        f"next, on a machine that neither of them owns: peer audit {output.name} --app DIR",
    )


def _blocks(
    told: Dispute,
    source: RunSource,
    scratch: Scratch,
    beside: AcksGrantsProofs,
    may_lack: MayLack,
    made: CID | None,
) -> Iterator[Block]:
    """The dispute block, by which the file is known; the run; and what the other server made, as far as it is here."""
    yield told.block()
    yield from run_blocks(told.record, source, scratch, beside, may_lack)
    if made is not None and scratch.size_of(made) is None:
        try:
            yield from (each for each in source.content(made, CONTENT_LIMIT) if scratch.see(each.cid, len(each.data)))
        except MissingBlock:
            return  # the word stands without it

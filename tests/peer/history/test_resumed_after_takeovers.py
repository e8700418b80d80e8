"""`peer.history.run_to_resume`: a run that another server led for a while, and that its first one leads again."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
from chains import ALICE, BOB, SECOND, SERVER, TIME, Scribe, id_of, reader_of
from inspected_runs import WrittenRun

from peer.engine.local.engine import LocalEngine
from peer.history.run_to_resume import RunToResume, run_to_resume
from peer.home.journal import Journal, RunHead
from protocol.blocks.cid import Block
from protocol.federation.epochs import seed_block
from protocol.records.bodies import Role


def left_open(folder: Path, *leaders: str) -> RunToResume:
    """A run that the server left open; ``leaders`` took it over, one after the other."""
    seed = seed_block(bytes(32), None)
    written = WrittenRun(scribe := Scribe(), seed=seed.cid)
    scribe.source.add(seed)
    for leader in leaders:
        by = {"server": SERVER, "second": SECOND}[leader]
        scribe.lead(leader=by, voters=(by, ALICE, BOB))
    written.exchange(1)
    chain = scribe.chain
    assert chain.head is not None
    with contextlib.closing(LocalEngine(folder / "engine")) as engine, Journal(folder / "journal") as journal:
        engine.put(Block(cid, data) for cid, data in scribe.source.items())
        head = RunHead(
            chain.run, scribe.first.cid, chain.head, chain.height, chain.term, False, Role.SERVER, engine.address, TIME
        )
        journal.keep_head(head)
        left = run_to_resume(journal, scribe.first.cid, reader_of(SERVER), engine)
    assert left is not None
    return left


@pytest.mark.parametrize(("leaders", "has_all"), [((), True), (("second", "server"), False)])
def test_what_another_server_was_handed_is_looked_for_before_the_app_is(
    leaders: tuple[str, ...], has_all: bool, tmp_path: Path
) -> None:
    left = left_open(tmp_path, *leaders)
    assert left.begun_by == id_of(SERVER)
    assert (left.begun.began_in is None) is has_all

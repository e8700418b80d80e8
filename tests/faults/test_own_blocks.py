"""Records of a run, and what belongs to them, are lost or damaged in the server's engine: it goes on all the same."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from itertools import cycle
from pathlib import Path

import pytest
from damage import EACH, Damage, emptied, flipped, name_of, removed, spoil
from disturbed import Disturbed, Told

from peer.base.faults import Fault, Step, Victim, When
from peer.engine.chosen_engine import MANAGED
from peer.home.journal import Journal
from protocol.blocks.cid import CID
from protocol.records.bodies import Chained, Collect, Dispatch, Reply, Run
from protocol.records.signed_records import Record, RecordError, parse_record

IN_ROUND_TWO = Fault(Victim.PEER, Step.WRITE_HEAD, When.AFTER, 7)


SAMPLE = [removed, *(pytest.param(how, marks=pytest.mark.all) for how in (emptied, flipped))]
"""Each block and damage by itself: `tests/peer/engine/test_own_blocks_by_kind.py`."""


def own_blocks(run: Disturbed) -> dict[str, CID]:
    """One block of each kind that the server's journal has of its run."""
    records: list[Record] = []
    for block in run.own_records("server"):
        with contextlib.suppress(RecordError):
            records.append(parse_record(block))
    with Journal(run.home("server").journal) as journal:
        (first,) = [record for record in records if isinstance(record.body, Run)]
        head = journal.heads()[0]
    assert isinstance(first.body, Run)
    found = {"run": first.cid, "seed": first.body.seed, "manifest": first.body.manifest, "head": head.head}
    for kind in (Dispatch, Collect, Reply):
        middle = [r for r in records if isinstance(r.body, kind)]
        middle.sort(key=lambda record: record.body.height if isinstance(record.body, Chained) else 0)
        found[kind.__name__.lower()] = middle[0].cid
    return found


@pytest.mark.parametrize("damage", SAMPLE, ids=name_of)
def test_a_server_takes_from_its_journal_what_its_engine_lost(
    disturbed: Disturbed, undisturbed: Told, damage: Damage
) -> None:
    disturbed.start_all({"server": IN_ROUND_TWO})
    disturbed.await_death("server")
    spoil(disturbed.root / "engine" / "blocks", own_blocks(disturbed).values(), damage)

    server = disturbed.start_one("server")

    disturbed.await_all()
    assert len(server.events("block-repaired")) >= 5
    assert disturbed.told() == undisturbed


@pytest.mark.all
@pytest.mark.parametrize("damage", SAMPLE[:2], ids=name_of)
def test_a_client_that_starts_again_puts_back_the_answer_that_its_engine_lost(
    disturbed: Disturbed, undisturbed: Told, damage: Damage
) -> None:
    disturbed.start_all({"one": Fault(Victim.PEER, Step.KEEP_REPLY, When.AFTER, 2)})  # nobody has heard of it
    disturbed.await_death("one")
    with Journal(disturbed.home("one").journal) as journal:
        reply = journal.replies(journal.heads()[0].run)[-1].reply
    spoil(disturbed.root / "engine" / "blocks", [reply], damage)

    client = disturbed.start_one("one")

    disturbed.await_all()
    assert client.events("block-repaired")
    assert disturbed.told() == undisturbed


@pytest.fixture
def on_kubo(origin: Path, tmp_path: Path, ipfs_program: Path) -> Iterator[Disturbed]:
    made = Disturbed.copy_of(origin, tmp_path / "run", MANAGED, POLLEN_KUBO=str(ipfs_program))
    yield made
    made.end()


@pytest.mark.all
@pytest.mark.kubo
def test_a_server_takes_from_its_journal_and_its_members_what_its_kubo_node_lost(
    on_kubo: Disturbed, undisturbed: Told
) -> None:
    on_kubo.start_all({"server": IN_ROUND_TWO})
    on_kubo.await_death("server")
    blocks, kinds = on_kubo.home("server").path / "ipfs" / "blocks", cycle(EACH)
    spoil(blocks, own_blocks(on_kubo).values(), lambda file: next(kinds)(file))

    on_kubo.start_one("server")

    on_kubo.await_all()
    assert on_kubo.told() == undisturbed

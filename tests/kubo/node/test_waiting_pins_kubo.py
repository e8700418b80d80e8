"""What a managed node stores is pinned later, and is there whenever its peer is killed before that."""

from __future__ import annotations

import contextlib
import math
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from peer.engine import open_engine
from peer.engine.kubo.api import QUICK_SECONDS, KuboApi
from peer.engine.kubo.config import environment
from peer.engine.kubo.contents import pin_settler
from peer.engine.kubo.contents.node_files import block_file
from peer.engine.kubo.contents.waiting_pins import WaitingPins
from peer.engine.kubo.engine import KuboEngine
from peer.engine.kubo.node import KuboNode
from protocol.blocks.cid import CID, Block, cbor_block, raw_block

pytestmark = pytest.mark.kubo

KEY = bytes(range(32))
RECORD = cbor_block({"prev": raw_block(b"not here").cid})
CHUNK = raw_block(b"chunk")
ROOT = cbor_block({"links": [CHUNK.cid]})
JUNK = raw_block(b"what nobody pins")


@pytest.fixture
def node(ipfs_program: Path, tmp_path: Path) -> Iterator[KuboNode]:
    with KuboNode(tmp_path, KEY) as node:
        yield node


@pytest.fixture
def engine(node: KuboNode, monkeypatch: pytest.MonkeyPatch) -> Iterator[KuboEngine]:
    """An engine that sets no pin by itself, as long as it is open."""
    monkeypatch.setattr(pin_settler, "_REST", 1e9)
    with contextlib.closing(KuboEngine(node.api, managed=True)) as engine:
        yield engine


def pins(program: Path, node: KuboNode) -> set[tuple[str, str]]:
    """CIDs and how they are pinned, without Kubo's own."""
    done = subprocess.run(
        [program, "pin", "ls"], env=environment(node.repository), capture_output=True, text=True, check=True
    )
    listed = [line.split(maxsplit=1) for line in done.stdout.splitlines() if not line.startswith("Qm")]
    return {(cid, kind) for cid, kind in listed}


ALL = {(str(RECORD.cid), "direct"), (str(ROOT.cid), "recursive"), (str(CHUNK.cid), "indirect")}


def store_all(engine: KuboEngine) -> None:
    engine.put([RECORD], pin=[RECORD.cid])
    engine.put_content(ROOT.cid, [ROOT, CHUNK])
    engine.put([JUNK])


def test_a_record_and_a_content_are_stored_and_pinned_without_a_call(engine: KuboEngine, calls: list[str]) -> None:
    store_all(engine)
    assert engine.keeps(ROOT.cid)
    assert calls == []


def test_what_others_store_at_a_node_of_its_owner_is_pinned_at_once(
    node: KuboNode, ipfs_program: Path, calls: list[str]
) -> None:
    (node.repository / "waiting-pins").rmdir()  # only a managed node has it
    with contextlib.closing(KuboEngine(node.api)) as engine:
        store_all(engine)
        assert pins(ipfs_program, node) == ALL
    assert "pin/add" in calls


@pytest.mark.parametrize("were_set", [False, True], ids=["before-its-pins-are-set", "as-they-were-set"])
def test_what_was_stored_as_a_peer_is_killed_is_there_after_its_node_deleted_what_nobody_pinned(
    engine: KuboEngine, node: KuboNode, ipfs_program: Path, were_set: bool
) -> None:
    store_all(engine)
    if were_set:  # but they were still noted
        engine.settle_pins()
        WaitingPins(node.repository).note([RECORD.cid], recursive=False)
        WaitingPins(node.repository).note([ROOT.cid], recursive=True)
    node.stop()
    node.start(collect=True)
    assert pins(ipfs_program, node) == ALL
    with contextlib.closing(open_engine(node.api)) as again:
        assert [again.get_here(block.cid) for block in (RECORD, ROOT, CHUNK)] == [RECORD.data, ROOT.data, CHUNK.data]
        assert not again.has(JUNK.cid)
    assert WaitingPins(node.repository).all() == []


def test_a_content_that_was_fetched_as_a_peer_is_killed_is_there_after_that(
    engine: KuboEngine, node: KuboNode, tmp_path: Path
) -> None:
    with KuboNode(tmp_path / "other", KEY) as another, contextlib.closing(open_engine(another.api)) as other:
        other.put_content(ROOT.cid, [ROOT, CHUNK])
        engine.connect(other.addresses())
        engine.fetch(ROOT.cid, timeout=60.0, limit=1 << 20)
    node.stop()
    node.start(collect=True)
    with contextlib.closing(open_engine(node.api)) as again:
        assert again.get_here(CHUNK.cid) == CHUNK.data


def lost(node: KuboNode, block: Block) -> None:
    """A power cut took ``block``, and not the note that it is to be pinned."""
    for path in (node.repository / "blocks").rglob("*.data"):
        if path.read_bytes() == block.data:
            path.unlink()


def test_the_note_of_a_block_that_a_power_cut_took_keeps_nothing_from_being_deleted(
    engine: KuboEngine, node: KuboNode, ipfs_program: Path
) -> None:
    store_all(engine)
    lost(node, RECORD)
    node.stop()
    node.start(collect=True)
    assert pins(ipfs_program, node) == ALL - {(str(RECORD.cid), "direct")}
    with contextlib.closing(open_engine(node.api)) as again:
        assert not again.has(JUNK.cid)


DROPS: dict[str, Callable[[KuboEngine], object]] = {
    "drop": lambda engine: engine.drop([ROOT.cid], [RECORD.cid]),
    "unpin": lambda engine: (engine.unpin(ROOT.cid), engine.unpin(RECORD.cid)),
}


@pytest.mark.parametrize("how", DROPS)
def test_a_pin_that_is_undone_before_it_was_set_is_not_set(
    how: str, engine: KuboEngine, node: KuboNode, ipfs_program: Path
) -> None:
    store_all(engine)
    DROPS[how](engine)
    engine.settle_pins()
    assert pins(ipfs_program, node) == set()
    assert not engine.keeps(ROOT.cid)


def test_what_is_dropped_is_deleted_but_for_what_a_pin_leads_to_that_is_not_set_yet(engine: KuboEngine) -> None:
    other = cbor_block({"links": [CHUNK.cid], "other": True})
    store_all(engine)
    engine.put_content(other.cid, [other, CHUNK])
    engine.drop([ROOT.cid], [RECORD.cid], keep=[JUNK.cid])
    engine.drop([], [RECORD.cid])
    kept: dict[CID, bool] = {block.cid: engine.has(block.cid) for block in (ROOT, RECORD, CHUNK, other, JUNK)}
    assert kept == {ROOT.cid: False, RECORD.cid: False, CHUNK.cid: True, other.cid: True, JUNK.cid: True}


def test_a_damaged_block_that_is_to_be_pinned_keeps_nothing_else_from_being_dropped(
    engine: KuboEngine, node: KuboNode
) -> None:
    store_all(engine)
    block_file(node.repository / "blocks", ROOT.cid).write_bytes(b"damaged")
    engine.drop([], [JUNK.cid])
    assert not engine.has(JUNK.cid)


def test_a_content_is_dropped_though_it_is_damaged(engine: KuboEngine, node: KuboNode) -> None:
    store_all(engine)
    block_file(node.repository / "blocks", ROOT.cid).write_bytes(b"damaged")
    engine.drop([ROOT.cid])
    assert not engine.has(ROOT.cid)


def test_a_node_that_hangs_is_not_waited_for_long_as_pins_are_set(
    engine: KuboEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[float] = []
    call = KuboApi.call

    def noted(api: KuboApi, path: str, *args: str, within: float = math.inf, **more: Any) -> Any:
        given.append(within)
        return call(api, path, *args, within=within, **more)

    store_all(engine)
    monkeypatch.setattr(KuboApi, "call", noted)
    engine.settle_pins()
    assert given
    assert max(given) <= QUICK_SECONDS


def test_closing_an_engine_sets_what_waits(node: KuboNode, ipfs_program: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pin_settler, "_REST", 1e9)
    with contextlib.closing(KuboEngine(node.api, managed=True)) as engine:
        store_all(engine)
        assert pins(ipfs_program, node) == set()
    assert pins(ipfs_program, node) == ALL


def test_pins_are_set_while_nobody_wants_something_of_the_node(
    node: KuboNode, ipfs_program: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pin_settler, "_REST", 0.0)
    monkeypatch.setattr(pin_settler, "_LOOK_EVERY", 0.01)
    with contextlib.closing(KuboEngine(node.api, managed=True)) as engine:
        store_all(engine)
        while WaitingPins(node.repository).all():  # the test's own time-out ends it
            time.sleep(0.01)
        assert pins(ipfs_program, node) == ALL

"""What a run asks its engine for, and how long it waits for that."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest
from chains import ALICE, begun

from peer.apps.unpacked_apps import UnpackedApps
from peer.engine.engine_retries import EngineRetries
from peer.engine.interface import EngineError, StillComing, Unreachable
from peer.engine.local.engine import LocalEngine
from peer.home.home import Home
from peer.home.journal import Journal
from peer.run.engine_effects import MOST_LINKS, STILL_COMING, EngineEffects
from protocol.blocks.cid import CID, Block, cbor_block, raw_block
from protocol.records.signed_records import sign_record
from protocol.roles.effects import FetchContent, PinRun
from protocol.roles.events import Done, Event

Fetch = Callable[[int], "Future[Event]"]


class Dribble:
    """Contents of which a little comes at each try, and never all."""

    def __init__(self) -> None:
        self.going_on: set[CID] = set()
        """Those that were asked for again."""
        self._tried: set[CID] = set()
        self._changed = threading.Condition()

    def fetch(self, root: CID, *, timeout: float, limit: int) -> None:
        with self._changed:
            if root in self._tried:
                self.going_on.add(root)
            self._tried.add(root)
            self._changed.notify_all()
        raise StillComing(root)

    def wait(self, count: int) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.going_on) >= count, timeout=60)


@pytest.fixture
def dribble(local_engine: LocalEngine, monkeypatch: pytest.MonkeyPatch) -> Dribble:
    dribble = Dribble()
    monkeypatch.setattr(local_engine, "fetch", dribble.fetch)
    return dribble


@pytest.fixture
def effects(local_engine: LocalEngine, tmp_path: Path) -> Iterator[EngineEffects]:
    home = Home(tmp_path / "home").create()
    with Journal(home.journal) as journal:
        made = EngineEffects(local_engine, journal, UnpackedApps(home), EngineRetries(), lambda _: None)
        yield made
        made.close()


@pytest.fixture
def fetch(effects: EngineEffects, dribble: Dribble) -> Iterator[Fetch]:
    """Have a content of this number fetched."""
    with ThreadPoolExecutor(STILL_COMING + 1) as threads:
        yield lambda number: threads.submit(
            effects.fetch_content, FetchContent(number, raw_block(bytes([number])).cid), 1 << 20
        )
        effects.close()


def test_contents_that_never_are_whole_leave_threads_to_others(fetch: Fetch, dribble: Dribble) -> None:
    lasting = [fetch(number) for number in range(STILL_COMING)]
    dribble.wait(STILL_COMING)
    with pytest.raises(StillComing):
        fetch(STILL_COMING).result(timeout=60)
    assert not any(each.done() for each in lasting)


def test_what_is_still_coming_is_given_up_once_nothing_is_fetched_any_more(
    fetch: Fetch, dribble: Dribble, effects: EngineEffects
) -> None:
    lasting = fetch(0)
    dribble.wait(1)
    effects.close()
    with pytest.raises(StillComing):
        lasting.result(timeout=60)


def test_a_closed_run_that_may_lack_something_is_closed_though_that_is_nowhere(
    effects: EngineEffects, local_engine: LocalEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = sign_record(begun().reply_body(ALICE), [ALICE])
    local_engine.put([record])
    assert effects.pin_run(PinRun(1, record.cid, may_lack=True)) == Done(1)
    assert local_engine.keeps(record.cid)

    def lacks(cid: CID, *, recursive: bool) -> None:
        raise Unreachable(cid, "it is not whole")

    monkeypatch.setattr(local_engine, "pin", lacks)
    assert effects.pin_run(PinRun(2, record.cid, may_lack=True)) == Done(2)
    with pytest.raises(Unreachable):
        effects.pin_run(PinRun(3, record.cid, may_lack=False))


ROOT = cbor_block({"a small content": 1})


def test_an_engine_that_cannot_store_a_root_fetches_the_content_all_the_same(
    effects: EngineEffects, local_engine: LocalEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    local_engine.put([ROOT])

    def refuses(blocks: Iterable[Block]) -> None:
        raise EngineError("it takes nothing")

    monkeypatch.setattr(LocalEngine, "kind", "kubo")
    monkeypatch.setattr(local_engine, "put", refuses)
    assert effects.fetch_content(FetchContent(1, ROOT.cid, root=ROOT), 1 << 20) == Done(1)
    assert local_engine.keeps(ROOT.cid)


def test_peers_that_share_their_blocks_store_no_root(effects: EngineEffects, local_engine: LocalEngine) -> None:
    effects.place_root(ROOT)
    assert not local_engine.has(ROOT.cid)


def test_a_root_with_many_links_is_not_looked_into(
    effects: EngineEffects, local_engine: LocalEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    chunks = [raw_block(bytes([number])) for number in range(MOST_LINKS + 1)]
    few, many = (cbor_block([chunk.cid for chunk in chunks[:count]]) for count in (MOST_LINKS, MOST_LINKS + 1))
    local_engine.put(chunks)
    monkeypatch.setattr(LocalEngine, "kind", "kubo")
    for root in (few, many):
        effects.place_root(root)
    assert [local_engine.has(root.cid) for root in (few, many)] == [True, False]

"""The root block of a content that came beside a record spares a managed node every question over the network, if that
block is all that lacks."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from peer.apps.unpacked_apps import UnpackedApps
from peer.engine.engine_retries import EngineRetries
from peer.engine.interface import TooLarge
from peer.engine.kubo.contents import pin_settler
from peer.engine.kubo.engine import KuboEngine
from peer.engine.kubo.node import KuboNode
from peer.home.home import Home
from peer.home.journal import Journal
from peer.run.engine_effects import EngineEffects
from protocol.blocks.cid import cbor_block, raw_block
from protocol.roles.effects import FetchContent
from protocol.roles.events import Done

pytestmark = pytest.mark.kubo

KEY = bytes(range(32))
METRICS = cbor_block({"metrics": 1})
CHUNK = raw_block(b"the model")
MODEL = cbor_block({"to train on": [CHUNK.cid]})
LIMIT = 1 << 20


@pytest.fixture
def engine(ipfs_program: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[KuboEngine]:
    """The engine of a managed node that knows no other, and sets no pin by itself."""
    monkeypatch.setattr(pin_settler, "_REST", 1e9)
    with KuboNode(tmp_path, KEY) as node, contextlib.closing(KuboEngine(node.api, managed=True)) as engine:
        yield engine


@pytest.fixture
def effects(engine: KuboEngine, tmp_path: Path) -> Iterator[EngineEffects]:
    home = Home(tmp_path / "home").create()
    with Journal(home.journal) as journal:
        yield EngineEffects(engine, journal, UnpackedApps(home), EngineRetries(), lambda _: None)


def test_a_content_of_one_block_is_fetched_without_a_call(
    engine: KuboEngine, effects: EngineEffects, calls: list[str]
) -> None:
    assert effects.fetch_content(FetchContent(1, METRICS.cid, root=METRICS), LIMIT) == Done(1)
    assert calls == []
    assert engine.keeps(METRICS.cid)
    assert list(engine.read_content(METRICS.cid)) == [METRICS]


def test_a_content_whose_chunks_are_here_is_fetched_without_a_call(
    engine: KuboEngine, effects: EngineEffects, calls: list[str]
) -> None:
    engine.put([CHUNK])
    assert effects.fetch_content(FetchContent(1, MODEL.cid, root=MODEL), LIMIT) == Done(1)
    assert calls == []
    assert engine.keeps(MODEL.cid)


def test_the_root_of_a_content_whose_chunks_are_elsewhere_is_not_stored(
    engine: KuboEngine, effects: EngineEffects
) -> None:
    effects.place_root(MODEL)
    assert not engine.has(MODEL.cid)


def test_a_content_that_is_too_large_is_so_although_its_root_came_with_a_record(
    engine: KuboEngine, effects: EngineEffects
) -> None:
    with pytest.raises(TooLarge):
        effects.fetch_content(FetchContent(1, METRICS.cid, root=METRICS), len(METRICS.data) - 1)
    assert not engine.keeps(METRICS.cid)

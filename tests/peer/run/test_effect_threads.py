"""`peer.run.effect_threads`: what a member only says that it has keeps no thread from the run."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from peer.run.effect_threads import EffectThreads
from protocol.blocks.cid import raw_block
from protocol.records.bodies import Chained, Federation, Reply
from protocol.roles.effects import Connect, FetchContent, FetchRecord

CID = raw_block(b"").cid
INVENTIONS = {
    "a manifest": FetchRecord(1, CID, Federation, CID),
    "an answer": FetchRecord(1, CID, Reply),
    "a proof": FetchRecord(1, CID, None),
    "an address": Connect(("/ip4/10.0.0.1/tcp/1/p2p/a",)),
}


@pytest.fixture
def threads() -> Iterator[EffectThreads]:
    made = EffectThreads()
    yield made
    made.close()


@pytest.mark.parametrize("what", INVENTIONS)
def test_the_run_is_fetched_while_a_thousand_inventions_are_looked_for(threads: EffectThreads, what: str) -> None:
    nobody_has_it = threading.Event()
    for _ in range(1000):
        threads.of(INVENTIONS[what]).submit(nobody_has_it.wait)
    try:
        for effect in (FetchRecord(1, CID, Chained), FetchContent(1, CID)):
            assert threads.of(effect).submit(str, "fetched").result(timeout=60) == "fetched"
    finally:
        nobody_has_it.set()


def test_answers_do_not_wait_for_inventions_of_manifests(threads: EffectThreads) -> None:
    nobody_has_it = threading.Event()
    for _ in range(1000):
        threads.of(INVENTIONS["a manifest"]).submit(nobody_has_it.wait)
    try:
        assert threads.of(INVENTIONS["an answer"]).submit(str, "fetched").result(timeout=60) == "fetched"
    finally:
        nobody_has_it.set()

"""What people are told of an engine's errors: each names what fixes it, Kubo's own words too."""

from __future__ import annotations

import contextlib

import pytest

from peer.cli.runs.endings import fix_of
from peer.engine.interface import Unreachable
from peer.engine.kubo.api import KuboApi
from peer.run.runner import Ending
from protocol.blocks.cid import raw_block

KUBO_SAYS = [
    "merkledag: not found",
    "failed to dial 12D3KooW: all dials failed",
    "pin: bafk is not pinned or pinned indirectly",
    "block was not found locally (offline): ipld: could not find bafk",
    "datastore closed",
    "context canceled",
    "no space left on device",
    "experimental pubsub feature not enabled",
    "libp2p stream mounting not enabled",
]


@pytest.mark.parametrize("words", KUBO_SAYS)
def test_whatever_kubo_says_there_is_a_fix(words: str) -> None:
    with contextlib.closing(KuboApi("http://127.0.0.1:1")) as api:
        assert api.meaning(words).fix


def test_a_block_that_nobody_has_names_what_brings_it() -> None:
    assert "peer import FILE" in Unreachable(raw_block(b"gone").cid).fix


def test_a_peer_that_ends_for_its_engine_passes_the_fix_on() -> None:
    ending = Ending("the disk is full", fix="free some space")
    assert fix_of(ending, None, "the run stays open") == "free some space; the run stays open"  # type: ignore[arg-type]
